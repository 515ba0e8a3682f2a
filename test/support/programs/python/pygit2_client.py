"""One step of libgit2: clone URL FOLDER DEPTH FILTER, fetch FOLDER DEPTH, push FOLDER REFSPEC…"""

import sys

import pygit2


class Report(pygit2.RemoteCallbacks):
    """Has a refused ref be an error: libgit2 itself only tells of it."""

    def push_update_reference(self, refname, message):
        if message is not None:
            raise SystemExit(f"{refname}: {message}")


def clone(url, folder, depth, filter_spec):
    if filter_spec:
        raise SystemExit("libgit2 has no partial clone")
    pygit2.clone_repository(url, folder, depth=int(depth))


def fetch(folder, depth):
    pygit2.Repository(folder).remotes["origin"].fetch(depth=int(depth))


def push(folder, *refspecs):
    pygit2.Repository(folder).remotes["origin"].push(list(refspecs), callbacks=Report())


steps = {"clone": clone, "fetch": fetch, "push": push}
steps[sys.argv[1]](*sys.argv[2:])
