-- Large objects: each once for all repositories, each readable only through a repository that links it.

-- An object exists once its bytes were hashed and found to be what they were called.
CREATE TABLE large_object (
  sha256       bytea PRIMARY KEY CHECK (length(sha256) = 32),
  size         bigint NOT NULL CHECK (size >= 0),
  created_at   timestamptz NOT NULL DEFAULT now(),
  -- Since when no repository has been seen to link it. A mark of the collector: links are what counts.
  unlinked_at  timestamptz
);
CREATE INDEX large_object_unlinked ON large_object (unlinked_at) WHERE unlinked_at IS NOT NULL;

-- Where the bytes of an object are: in one blob, or as a recipe. The foreign key makes deleting a stored blob it needs impossible.
CREATE TABLE representation (
  sha256      bytea NOT NULL REFERENCES large_object,
  kind        text NOT NULL CHECK (kind IN ('flat', 'xet')),
  key         text COLLATE "C" REFERENCES stored_blob,
  created_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (sha256, kind),
  CHECK (kind <> 'flat' OR key IS NOT NULL)
);
CREATE INDEX representation_key ON representation (key);

-- Who may read an object: who may read a repository that links it. Links of a deleted repository grant nothing and age out.
CREATE TABLE repo_large_object (
  repo_id      bigint NOT NULL REFERENCES repositories,
  sha256       bytea NOT NULL REFERENCES large_object,
  first_seen   timestamptz NOT NULL DEFAULT now(),
  -- When it was last uploaded, claimed, pushed or found in use.
  last_seen    timestamptz NOT NULL DEFAULT now(),
  -- Since when nothing in the repository points to it. The link still counts until it is gone.
  unlinked_at  timestamptz,
  PRIMARY KEY (repo_id, sha256)
);
CREATE INDEX repo_large_object_sha256 ON repo_large_object (sha256);

-- Uploads to come (without a key) and bytes on their way in (each under a staging key of its own). Nothing here is an object yet.
CREATE TABLE lfs_upload (
  id              uuid PRIMARY KEY,
  repo_id         bigint NOT NULL REFERENCES repositories,
  actor_id        bigint NOT NULL REFERENCES namespaces,
  sha256          bytea NOT NULL CHECK (length(sha256) = 32),
  size            bigint NOT NULL CHECK (size >= 0),
  key             text COLLATE "C",
  reserved_bytes  bigint NOT NULL CHECK (reserved_bytes >= 0),
  created_at      timestamptz NOT NULL DEFAULT now(),
  expires_at      timestamptz NOT NULL
);
-- Asked for again, an upload is the same one.
CREATE UNIQUE INDEX lfs_upload_reservation ON lfs_upload (repo_id, actor_id, sha256, size) WHERE key IS NULL;
CREATE UNIQUE INDEX lfs_upload_key ON lfs_upload (key) WHERE key IS NOT NULL;
CREATE INDEX lfs_upload_expires ON lfs_upload (expires_at);

-- Files of a repository that somebody works on.
CREATE TABLE lfs_locks (
  id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  repo_id    bigint NOT NULL REFERENCES repositories,
  path       bytea NOT NULL CHECK (length(path) BETWEEN 1 AND 4096),
  owner_id   bigint NOT NULL REFERENCES namespaces,
  -- Whole milliseconds, so that a page can begin where the last one ended.
  locked_at  timestamptz NOT NULL DEFAULT date_trunc('milliseconds', clock_timestamp()),
  UNIQUE (repo_id, path)
);
CREATE INDEX lfs_locks_order ON lfs_locks (repo_id, locked_at, id);
