"""The change log's own tables, which stand in the vault beside the memories. A migration of the vault puts them there.

What a memory's state is (`sync_states`, `sync_forgotten`) belongs to whoever holds the memories, and is not here. Hashes, keys and ids
are raw bytes; columns ending in `_ms` are milliseconds since 1970 in UTC; times of the change log itself (`hlc`) are `clock.Hlc`.
"""

SCHEMA = """
    -- This device, once it syncs; no row until then.
    CREATE TABLE sync_self (
        number INTEGER PRIMARY KEY CHECK (number = 1),
        vault BLOB NOT NULL CHECK (length(vault) = 16),
        sign_seed BLOB NOT NULL CHECK (length(sign_seed) = 32),
        kem_seed BLOB NOT NULL,
        device BLOB NOT NULL CHECK (length(device) = 16),
        incarnation INTEGER NOT NULL CHECK (incarnation >= 1),
        stream BLOB NOT NULL CHECK (length(stream) = 8),
        -- the last batch sealed on this stream
        seq INTEGER NOT NULL DEFAULT 0 CHECK (seq >= 0),
        head BLOB NOT NULL DEFAULT (zeroblob(32)) CHECK (length(head) = 32),
        hlc INTEGER NOT NULL DEFAULT 0,
        -- which life of the relay's log the cursor counts in; NULL before the first answer
        generation TEXT,
        cursor INTEGER NOT NULL DEFAULT 0 CHECK (cursor >= 0),
        -- sum of the fingerprints of all states
        digest BLOB NOT NULL DEFAULT (zeroblob(32)) CHECK (length(digest) = 32),
        paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
        -- another copy of this device has written on its stream: until a new stream is begun, nothing is sealed
        adopting INTEGER NOT NULL DEFAULT 0 CHECK (adopting IN (0, 1)),
        -- memories from before sync was set up are recorded piece by piece, until there are none
        seeding INTEGER NOT NULL DEFAULT 1 CHECK (seeding IN (0, 1)),
        sealed_ms INTEGER NOT NULL DEFAULT 0,
        -- what the last batch said of the other streams' heads
        heads_told BLOB NOT NULL DEFAULT (zeroblob(32)) CHECK (length(heads_told) = 32),
        -- the end of the relay's log was reached once: from then on much forgotten at once is a question
        caught_up INTEGER NOT NULL DEFAULT 0 CHECK (caught_up IN (0, 1)),
        reached_ms INTEGER NOT NULL DEFAULT 0,
        house_ms INTEGER NOT NULL DEFAULT 0,
        -- the relay lost what only states hold any more: it is given a snapshot
        snapshot_owed INTEGER NOT NULL DEFAULT 0 CHECK (snapshot_owed IN (0, 1)),
        -- something between here and the cursor was not as it must be, and is asked for again
        reread_after INTEGER,
        reread_ms INTEGER NOT NULL DEFAULT 0,
        rereads INTEGER NOT NULL DEFAULT 0,
        -- how much other devices forgot since when: beyond a measure it waits for a yes
        forgets_from_ms INTEGER NOT NULL DEFAULT 0,
        forgets INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    CREATE TABLE sync_control (
        seq INTEGER PRIMARY KEY,
        entry BLOB NOT NULL
    ) STRICT;
    -- What the entries come to, so that not every signature in them is checked anew each time; made from them again if it cannot be read.
    CREATE TABLE sync_members (
        number INTEGER PRIMARY KEY CHECK (number = 1),
        members BLOB NOT NULL
    ) STRICT;
    CREATE TABLE sync_epochs (
        epoch INTEGER PRIMARY KEY,
        key BLOB NOT NULL CHECK (length(key) = 32)
    ) STRICT;

    -- What happened here and is in no batch yet. AUTOINCREMENT: the order in which it happened.
    CREATE TABLE sync_outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT,
        memory BLOB NOT NULL CHECK (length(memory) = 16),
        op BLOB NOT NULL
    ) STRICT;
    CREATE INDEX sync_outbox_by_memory ON sync_outbox (memory);

    -- Own batches, sealed before they were first sent and kept until a snapshot that the relay acknowledged covers them.
    CREATE TABLE sync_frames (
        stream BLOB NOT NULL CHECK (length(stream) = 8),
        seq INTEGER NOT NULL CHECK (seq >= 1),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        frame BLOB NOT NULL,
        -- where the relay put it; NULL while that is not known
        pos INTEGER,
        -- the relay has shown it since, or a snapshot holds it: until then its word is not proven
        shown INTEGER NOT NULL DEFAULT 0 CHECK (shown IN (0, 1)),
        -- it was acknowledged and then not shown, and was sent once more
        again INTEGER NOT NULL DEFAULT 0 CHECK (again IN (0, 1)),
        UNIQUE (stream, seq)
    ) STRICT;
    CREATE INDEX sync_frames_not_shown ON sync_frames (stream, seq) WHERE shown = 0;
    CREATE INDEX sync_frames_unsent ON sync_frames (stream, seq) WHERE pos IS NULL;

    -- The last applied batch of every other stream: never goes back. `served` is the last that the relay has shown in this generation.
    CREATE TABLE sync_heads (
        stream BLOB PRIMARY KEY CHECK (length(stream) = 8),
        seq INTEGER NOT NULL CHECK (seq >= 0),
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        served INTEGER NOT NULL,
        pos INTEGER NOT NULL,
        heard_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    -- Hashes of some last batches of each stream: what another device says of them must agree.
    CREATE TABLE sync_chain (
        stream BLOB NOT NULL,
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        PRIMARY KEY (stream, seq)
    ) STRICT, WITHOUT ROWID;
    -- The furthest that some other device says to have applied of a stream.
    CREATE TABLE sync_claims (
        stream BLOB PRIMARY KEY CHECK (length(stream) = 8),
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        teller BLOB NOT NULL CHECK (length(teller) = 8)
    ) STRICT, WITHOUT ROWID;

    -- Batches of known devices that cannot be applied, or not wholly, or not yet.
    CREATE TABLE sync_held (
        stream BLOB NOT NULL CHECK (length(stream) = 8),
        seq INTEGER NOT NULL,
        hash BLOB NOT NULL CHECK (length(hash) = 32),
        pos INTEGER NOT NULL,
        reason TEXT NOT NULL CHECK (reason IN ('waiting', 'withheld', 'unreadable', 'malformed', 'newer')),
        -- all of it that could be read has been applied
        applied INTEGER NOT NULL CHECK (applied IN (0, 1)),
        frame BLOB NOT NULL,
        UNIQUE (stream, seq, hash)
    ) STRICT;
    -- What other devices forgot, too much at once to be done without a yes.
    CREATE TABLE sync_forgets (
        memory BLOB PRIMARY KEY CHECK (length(memory) = 16),
        stream BLOB NOT NULL CHECK (length(stream) = 8),
        hlc INTEGER NOT NULL,
        held_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE sync_conflicts (
        memory BLOB PRIMARY KEY CHECK (length(memory) = 16)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE sync_alarms (
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        sentence TEXT NOT NULL,
        first_ms INTEGER NOT NULL,
        last_ms INTEGER NOT NULL,
        times INTEGER NOT NULL,
        PRIMARY KEY (kind, subject)
    ) STRICT, WITHOUT ROWID;

    -- Pieces of snapshots that are in the vault already, so that an interrupted start goes on where it stopped.
    CREATE TABLE sync_pieces (
        manifest BLOB NOT NULL CHECK (length(manifest) = 16),
        name TEXT NOT NULL,
        PRIMARY KEY (manifest, name)
    ) STRICT, WITHOUT ROWID;
    -- Snapshots that this device has written or checked.
    CREATE TABLE sync_snapshots (
        manifest BLOB PRIMARY KEY CHECK (length(manifest) = 16),
        made_ms INTEGER NOT NULL,
        standing TEXT NOT NULL CHECK (standing IN ('written', 'checked', 'joined', 'refused'))
    ) STRICT, WITHOUT ROWID;
"""

LOSSES = """
    -- Up to here the relay, which has lost batches of this stream, has what they said in a snapshot.
    ALTER TABLE sync_heads ADD COLUMN given INTEGER NOT NULL DEFAULT 0;
    -- This file is a backup that was put back, and the device may have written more since it was made: before anything is sealed, a new
    -- stream is begun.
    ALTER TABLE sync_self ADD COLUMN copied INTEGER NOT NULL DEFAULT 0 CHECK (copied IN (0, 1));
"""

DIGESTS = """
    -- What each other device last said that it holds, and where in the log that was, until this device has come to the same place.
    CREATE TABLE sync_digests (
        teller BLOB PRIMARY KEY CHECK (length(teller) = 8),
        heads BLOB NOT NULL,
        digest BLOB NOT NULL CHECK (length(digest) = 32)
    ) STRICT, WITHOUT ROWID;
"""
