-- What a collection of a repository's packs made, and when one was last finished.
ALTER TABLE packs ADD part text CHECK (part IN ('meta', 'blobs'));
ALTER TABLE repositories ADD collected_at timestamptz, ADD collected_refs_ver bigint NOT NULL DEFAULT 0;
