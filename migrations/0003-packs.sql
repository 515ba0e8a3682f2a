-- Where git's bytes are. See docs/git-storage.md.

-- Every object in a BlobStore, of any kind, and where it stands between kept and deleted.
CREATE TABLE stored_blob (
  key           text COLLATE "C" PRIMARY KEY,
  bytes         bigint NOT NULL CHECK (bytes >= 0),
  state         text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'doomed', 'deleting')),
  last_used_at  timestamptz NOT NULL DEFAULT now(),
  state_at      timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX stored_blob_waiting ON stored_blob (state_at) WHERE state <> 'live';
CREATE INDEX stored_blob_last_used ON stored_blob (last_used_at);

CREATE TABLE packs (
  id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repo_id      bigint NOT NULL REFERENCES repositories,
  sha256       bytea NOT NULL CHECK (length(sha256) = 32),
  sha1         bytea NOT NULL CHECK (length(sha1) = 20),
  bytes        bigint NOT NULL,
  objects      bigint NOT NULL,
  -- Visibility: 0 heads and tags, 1 other visible refs, 2 hidden refs, 3 garbage.
  class        smallint NOT NULL CHECK (class BETWEEN 0 AND 3),
  source       text NOT NULL CHECK (source IN ('receive', 'api', 'fold', 'gc', 'copy')),
  state        text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'garbage', 'retired')),
  -- Sorted oids nothing in the pack refers to; null: more than 20,000 of them.
  roots        bytea,
  -- The pack refers to objects outside itself.
  external     boolean NOT NULL,
  -- Sidecars by their own hash; null: the pack is inline.
  idx_sha256   bytea,
  rev_sha256   bytea,
  tbl_sha256   bytea,
  update_id    uuid NOT NULL,
  -- packs_ver of the repository when this row last changed: readers fetch what is newer than what they have.
  changed_ver  bigint NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  retired_at   timestamptz
);
CREATE UNIQUE INDEX packs_live ON packs (repo_id, sha256) WHERE state = 'live';
CREATE INDEX packs_changed ON packs (repo_id, changed_ver);

-- Packs up to 128 KiB live here. Never selected together with the list of packs.
CREATE TABLE pack_inline (
  pack_id  bigint PRIMARY KEY REFERENCES packs ON DELETE CASCADE,
  pack     bytea NOT NULL,
  idx      bytea NOT NULL,
  tbl      bytea NOT NULL
);
ALTER TABLE pack_inline ALTER pack SET STORAGE EXTERNAL, ALTER idx SET STORAGE EXTERNAL, ALTER tbl SET STORAGE EXTERNAL;

-- Which rows need a stored blob. The foreign key makes deleting a linked row impossible.
CREATE TABLE blob_link (
  key      text COLLATE "C" NOT NULL REFERENCES stored_blob,
  repo_id  bigint NOT NULL REFERENCES repositories,
  pack_id  bigint REFERENCES packs,
  kind     text NOT NULL CHECK (kind IN ('pack', 'idx', 'rev', 'tbl', 'midx', 'bitmap', 'graph')),
  UNIQUE NULLS NOT DISTINCT (key, repo_id, pack_id, kind)
);
CREATE INDEX blob_link_pack ON blob_link (pack_id);

-- One row for each update that reached its end, so that a lost answer to COMMIT can be told from a lost transaction.
CREATE TABLE updates (
  update_id  uuid PRIMARY KEY,
  repo_id    bigint REFERENCES repositories,
  outcome    text NOT NULL CHECK (outcome IN ('done', 'abandoned')),
  at         timestamptz NOT NULL DEFAULT now()
);
