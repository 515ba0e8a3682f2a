package main

import (
	"errors"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

type v5 struct{}

func (v5) clone(url, folder string, depth int, filter string) error {
	if filter != "" {
		return errors.New("go-git v5 has no partial clone")
	}
	_, err := git.PlainClone(folder, false, &git.CloneOptions{URL: url, Depth: depth, Tags: git.AllTags})
	// It takes an empty repository for a mistake, and leaves nothing.
	if !errors.Is(err, transport.ErrEmptyRemoteRepository) {
		return err
	}
	repo, err := git.PlainInit(folder, false)
	if err != nil {
		return err
	}
	_, err = repo.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{url}})
	return err
}

func (v5) fetch(folder string, depth int) error {
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

func (v5) push(folder string, refspecs []string) error {
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
