-- What git itself keeps beside packs, by their own hash: on the row of the history and trees that a collection made, about that pack and the blobs beside it.
ALTER TABLE packs ADD midx_sha256 bytea, ADD bitmap_sha256 bytea, ADD graph_sha256 bytea;
