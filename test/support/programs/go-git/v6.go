package main

import (
	"errors"

	git "github.com/go-git/go-git/v6"
	"github.com/go-git/go-git/v6/config"
	"github.com/go-git/go-git/v6/plumbing/protocol/packp"
)

type v6 struct{}

func (v6) clone(url, folder string, depth int, filter string) error {
	_, err := git.PlainClone(folder, &git.CloneOptions{
		URL:            url,
		Depth:          depth,
		Tags:           git.AllTags,
		Filter:         packp.Filter(filter),
		NoCheckout:     filter != "", // it fetches no blobs later
		AllowEmptyRepo: true,
	})
	return err
}

func (v6) fetch(folder string, depth int) error {
	repo, err := git.PlainOpen(folder)
	if err != nil {
		return err
	}
	err = repo.Fetch(&git.FetchOptions{Depth: depth})
	if errors.Is(err, git.NoErrAlreadyUpToDate) {
		return nil
	}
	return err
}

func (v6) push(folder string, refspecs []string) error {
	repo, err := git.PlainOpen(folder)
	if err != nil {
		return err
	}
	specs := make([]config.RefSpec, len(refspecs))
	for i, spec := range refspecs {
		specs[i] = config.RefSpec(spec)
	}
	return repo.Push(&git.PushOptions{RefSpecs: specs})
}
