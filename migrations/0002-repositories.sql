-- A repository is its id: names may change, rows that point here do not.

CREATE TABLE repositories (
  id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace_id   bigint NOT NULL REFERENCES namespaces,
  type           text NOT NULL CHECK (type IN ('model', 'dataset', 'space')),
  name           text NOT NULL,
  visibility     text NOT NULL CHECK (visibility IN ('public', 'private')),
  gated          text CHECK (gated IN ('auto', 'manual')),
  disabled       boolean NOT NULL DEFAULT false,
  sdk            text,
  head_ref       bytea NOT NULL DEFAULT 'refs/heads/main',
  object_format  text NOT NULL DEFAULT 'sha1' CHECK (object_format = 'sha1'),
  bytes          bigint NOT NULL DEFAULT 0,
  -- Versions only rise. What is cached about a repository is keyed by them.
  refs_ver       bigint NOT NULL DEFAULT 1,
  packs_ver      bigint NOT NULL DEFAULT 1,
  gc_epoch       bigint NOT NULL DEFAULT 1,
  purge_epoch    bigint NOT NULL DEFAULT 1,
  access_ver     bigint NOT NULL DEFAULT 1,
  created_at     timestamptz NOT NULL DEFAULT now(),
  updated_at     timestamptz NOT NULL DEFAULT now(),
  deleted_at     timestamptz
);
CREATE UNIQUE INDEX repositories_name ON repositories (namespace_id, type, lower(name)) WHERE deleted_at IS NULL;

-- Names a repository had before. They redirect to it and are never given to others.
CREATE TABLE repository_tombstones (
  namespace_id  bigint NOT NULL REFERENCES namespaces,
  type          text NOT NULL,
  name_key      text NOT NULL,                 -- lower(name)
  repo_id       bigint NOT NULL REFERENCES repositories,
  created_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (namespace_id, type, name_key)
);

-- Names and oids are bytes. bytea sorts as git sorts.
CREATE TABLE refs (
  repo_id  bigint NOT NULL REFERENCES repositories,
  name     bytea NOT NULL,
  oid      bytea NOT NULL CHECK (length(oid) IN (20, 32)),
  peeled   bytea CHECK (length(peeled) IN (20, 32)),
  PRIMARY KEY (repo_id, name)
);
