// Command clients does one step of go-git, v5 or v6: clone URL FOLDER DEPTH FILTER, fetch FOLDER DEPTH, push FOLDER REFSPEC…
package main

import (
	"fmt"
	"os"
	"strconv"
)

type client interface {
	clone(url, folder string, depth int, filter string) error
	fetch(folder string, depth int) error
	push(folder string, refspecs []string) error
}

func main() {
	clients := map[string]client{"v5": v5{}, "v6": v6{}}
	if err := run(clients[os.Args[1]], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(c client, step string, args []string) error {
	switch step {
	case "clone":
		depth, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return c.clone(args[0], args[1], depth, args[3])
	case "fetch":
		depth, err := strconv.Atoi(args[1])
		if err != nil {
			return err
		}
		return c.fetch(args[0], depth)
	case "push":
		return c.push(args[0], args[1:])
	}
	return fmt.Errorf("no such step: %s", step)
}
