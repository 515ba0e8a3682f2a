-- Who there is. Users, organisations and service accounts share one table, so that a name can only be taken once.

CREATE TABLE namespaces (
  id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind        text NOT NULL CHECK (kind IN ('user', 'organisation', 'service')),
  name        text NOT NULL,
  full_name   text,
  email       text,
  is_admin    boolean NOT NULL DEFAULT false,
  state       text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'disabled')),
  -- Rises with every change of this actor's tokens, roles or state: a decision is never kept without it.
  access_ver  bigint NOT NULL DEFAULT 1,
  created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX namespaces_name ON namespaces (lower(name));

-- Names given up by a rename. They redirect, and nobody else ever gets them.
CREATE TABLE namespace_tombstones (
  name_key      text PRIMARY KEY,              -- lower(name)
  namespace_id  bigint NOT NULL REFERENCES namespaces,
  created_at    timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE tokens (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  namespace_id  bigint NOT NULL REFERENCES namespaces,
  name          text NOT NULL,
  -- fine-grained tokens say what they may in `scopes`
  role          text NOT NULL CHECK (role IN ('read', 'write', 'fine-grained')),
  scopes        jsonb,
  hash          bytea NOT NULL UNIQUE,         -- SHA-256 of the token; the token itself is nowhere
  created_at    timestamptz NOT NULL DEFAULT now(),
  expires_at    timestamptz,
  revoked_at    timestamptz
);
CREATE INDEX tokens_namespace ON tokens (namespace_id);

-- Keys that sign what we give out (links, sessions, CI tokens), sealed with CAIRN_SECRET_KEY, shared by all replicas.
CREATE TABLE keys (
  kid         text PRIMARY KEY,
  purpose     text NOT NULL,
  sealed      bytea NOT NULL,
  created_at  timestamptz NOT NULL DEFAULT now(),
  -- A key signs until it retires and verifies until it expires.
  retired_at  timestamptz,
  expires_at  timestamptz
);
CREATE INDEX keys_purpose ON keys (purpose, created_at);
