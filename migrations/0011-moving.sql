-- Whether the data of this database is on its way to another place, or came from one. See docs/moving.md.

-- One row at most. None: the data is the hub's, and all of it is here.
CREATE TABLE hub_move (
  singleton    boolean PRIMARY KEY DEFAULT true CHECK (singleton),
  -- moved: it is elsewhere now, and nothing is changed here any more. arriving: not all of it is here, or it still belongs to the other side.
  state        text NOT NULL CHECK (state IN ('moved', 'arriving')),
  -- The id of the store at the other side, as in hub_store.
  other_store  uuid NOT NULL,
  -- Where that is, for people.
  other_place  text NOT NULL,
  at           timestamptz NOT NULL DEFAULT now()
);

-- Blobs that a move brings. Verified: they are here, whole, and are what their key says. Empty again when the move is over.
CREATE TABLE moved_blob (
  key       text COLLATE "C" PRIMARY KEY,
  bytes     bigint NOT NULL,
  verified  boolean NOT NULL DEFAULT false
);
