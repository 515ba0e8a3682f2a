-- Three histories with three lifetimes.

-- What every ref was: undo, and "recent value of a visible ref".
CREATE TABLE ref_log (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repo_id    bigint NOT NULL REFERENCES repositories,
  name       bytea NOT NULL,
  old_oid    bytea,                            -- null: created
  new_oid    bytea,                            -- null: deleted
  new_peeled bytea,
  actor_id   bigint REFERENCES namespaces,
  update_id  uuid NOT NULL,
  at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ref_log_repo ON ref_log (repo_id, at);

-- Events to deliver once or more.
CREATE TABLE outbox (
  id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  repo_id  bigint REFERENCES repositories,
  kind     text NOT NULL,
  payload  jsonb NOT NULL,
  at       timestamptz NOT NULL DEFAULT now()
);

-- Who did what.
CREATE TABLE audit (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  actor_id      bigint REFERENCES namespaces,
  action        text NOT NULL,
  namespace_id  bigint REFERENCES namespaces,
  repo_id       bigint REFERENCES repositories,
  details       jsonb NOT NULL DEFAULT '{}',
  at            timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audit_repo ON audit (repo_id, at);
CREATE INDEX audit_actor ON audit (actor_id, at);
