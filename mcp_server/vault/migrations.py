"""The vault's schema, as the list of steps that made it. Append only: a step that was released never changes.

Applied by sqlite-utils, each step in one transaction with the record of it. Constraints state the invariants.
Columns ending in `_ms` are milliseconds since 1970 in UTC; ids are the 16 bytes of a UUID.
"""

from typing import TYPE_CHECKING

from sqlite_utils import Migrations

from mcp_server.vault.meeting import SCHEMA as MEETING
from mcp_server.vault.names import short_key
from mcp_server.vault.vector_lists import SCHEMA as VECTOR_LISTS
from sync_service.device.schema import DIGESTS, LOSSES
from sync_service.device.schema import SCHEMA as CHANGE_LOG

if TYPE_CHECKING:
    from sqlite_utils import Database

MIGRATIONS = Migrations("vault")


@MIGRATIONS(name="0001_memories")
def _memories(db: "Database") -> None:  # allow long-function: one schema, read in one piece
    db.executescript("""
        -- AUTOINCREMENT: a row number is never used again, so a vector or a posting that refers to a forgotten
        -- memory can never come to mean another one.
        CREATE TABLE memories (
            row INTEGER PRIMARY KEY AUTOINCREMENT,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            text TEXT NOT NULL,
            kind TEXT NOT NULL,
            space TEXT NOT NULL CHECK (space <> ''),
            occurred_ms INTEGER,
            valid_from_ms INTEGER,
            valid_to_ms INTEGER,
            speaker TEXT,
            conversation TEXT,
            position INTEGER,
            trust TEXT NOT NULL,
            client TEXT,
            tool TEXT,
            key TEXT UNIQUE,
            importance REAL NOT NULL CHECK (importance BETWEEN 0 AND 1),
            pinned INTEGER NOT NULL CHECK (pinned IN (0, 1)),
            archived INTEGER NOT NULL CHECK (archived IN (0, 1)),
            superseded_by BLOB CHECK (length(superseded_by) = 16),
            version INTEGER NOT NULL CHECK (version >= 1),
            created_ms INTEGER NOT NULL,
            updated_ms INTEGER NOT NULL,
            -- keyed hash of the text: finds the same words again without a second copy of them
            digest BLOB NOT NULL CHECK (length(digest) = 16)
        ) STRICT;
        -- the last five bytes name a memory in what people and assistants read
        CREATE INDEX memories_by_short_id ON memories (substr(id, 12));
        CREATE INDEX memories_by_digest ON memories (digest);
        CREATE INDEX memories_by_conversation ON memories (conversation, position) WHERE conversation IS NOT NULL;
        CREATE INDEX memories_pinned ON memories (row) WHERE pinned = 1;
        CREATE INDEX memories_superseding ON memories (superseded_by) WHERE superseded_by IS NOT NULL;

        CREATE TABLE tags (
            memory INTEGER NOT NULL REFERENCES memories (row) ON DELETE CASCADE,
            tag TEXT NOT NULL,
            PRIMARY KEY (tag, memory)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX tags_by_memory ON tags (memory);

        CREATE TABLE links (
            memory INTEGER NOT NULL REFERENCES memories (row) ON DELETE CASCADE,
            relation TEXT NOT NULL,
            target BLOB NOT NULL CHECK (length(target) = 16),
            PRIMARY KEY (memory, relation, target)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX links_by_target ON links (target);

        CREATE TABLE models (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        ) STRICT;
        -- The source of truth for vectors. A memory without a row here waits to be embedded.
        CREATE TABLE vectors (
            memory INTEGER PRIMARY KEY REFERENCES memories (row) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models (number),
            code BLOB NOT NULL,
            scale REAL NOT NULL
        ) STRICT;

        -- The text is kept once, in `memories`. Without column sizes BM25 has no length normalisation, which
        -- finds turns better and answers faster; deleting then needs the old text, which is at hand.
        CREATE VIRTUAL TABLE lexical USING fts5 (
            text, content='', columnsize=0, tokenize="porter unicode61 remove_diacritics 2"
        );
        -- Without this a forgotten word stays in the index until the next merge of its segment.
        INSERT INTO lexical (lexical, rank) VALUES ('secure-delete', 1);

        CREATE TABLE findings (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            relation TEXT NOT NULL CHECK (relation IN ('near_duplicate', 'may_contradict')),
            first BLOB NOT NULL CHECK (length(first) = 16),
            second BLOB NOT NULL CHECK (length(second) = 16),
            noticed_ms INTEGER NOT NULL,
            decision TEXT CHECK (decision IN ('keep_both', 'keep_first', 'keep_second')),
            decided_ms INTEGER,
            UNIQUE (first, second)
        ) STRICT;

        CREATE TABLE permissions (
            client TEXT NOT NULL,
            space TEXT NOT NULL,
            access TEXT NOT NULL CHECK (access IN ('none', 'read', 'write')),
            PRIMARY KEY (client, space)
        ) STRICT, WITHOUT ROWID;

        -- Who read or wrote which memory, when; ids and counts, never contents. Each line's hash covers the one before.
        CREATE TABLE access_log (
            seq INTEGER PRIMARY KEY,
            at_ms INTEGER NOT NULL,
            client TEXT NOT NULL,
            action TEXT NOT NULL,
            memories BLOB NOT NULL,
            count INTEGER NOT NULL,
            hash BLOB NOT NULL CHECK (length(hash) = 32)
        ) STRICT;
    """)


@MIGRATIONS(name="0002_lasting")
def _lasting(db: "Database") -> None:
    db.executescript("""
        -- What a rekey must not change, sealed under the root key; two rows only while a rekey is under way.
        CREATE TABLE lasting (sealed BLOB NOT NULL UNIQUE) STRICT;
    """)


@MIGRATIONS(name="0003_keyword_index")
def _keyword_index(db: "Database") -> None:
    db.executescript("""
        DROP TABLE lexical;
        -- The keyword index. A segment covers a span of row numbers; together those that are live cover all rows up to
        -- the last of them, without overlap. What is newer is not in here yet: its texts say it.
        CREATE TABLE segments (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            first_row INTEGER NOT NULL,
            last_row INTEGER NOT NULL CHECK (last_row >= first_row),
            tier INTEGER NOT NULL CHECK (tier >= 0),
            memories INTEGER NOT NULL CHECK (memories >= 0),
            -- one that is being made or was merged into another is not
            live INTEGER NOT NULL CHECK (live IN (0, 1))
        ) STRICT;
        -- Which memories say which words: a row holds some terms in alphabetical order. A cell of some 900 bytes stands
        -- on one page with three others.
        CREATE TABLE postings (
            segment INTEGER NOT NULL REFERENCES segments (number),
            first TEXT NOT NULL,
            terms TEXT NOT NULL,
            ends BLOB NOT NULL,
            body BLOB NOT NULL,
            PRIMARY KEY (segment, first)
        ) STRICT, WITHOUT ROWID;
    """)


@MIGRATIONS(name="0004_vectors_in_four_bits")
def _vectors_in_four_bits(db: "Database") -> None:
    db.executescript("""
        -- Vectors are a projection: without them, the memories are embedded again in the background.
        DROP TABLE vectors;
        -- The source of truth for vectors, in four bits a dimension. A memory without a row here waits to be embedded.
        CREATE TABLE vectors (
            memory INTEGER PRIMARY KEY REFERENCES memories (row) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models (number),
            code BLOB NOT NULL
        ) STRICT;

        -- What ranking knows of a text without reading it: a start would read every text of the vault for it.
        ALTER TABLE memories ADD COLUMN chars INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE memories ADD COLUMN question INTEGER NOT NULL DEFAULT 0 CHECK (question IN (0, 1));
        UPDATE memories SET chars = length(text), question = instr(text, '?') > 0;
    """)


@MIGRATIONS(name="0005_findings_and_echoes")
def _findings_and_echoes(db: "Database") -> None:
    # A CHECK cannot be changed in place. Numbers stay: people have seen them.
    db.executescript("""
        CREATE TABLE findings_wider (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            relation TEXT NOT NULL CHECK (relation IN ('near_duplicate', 'may_contradict', 'may_supersede')),
            first BLOB NOT NULL CHECK (length(first) = 16),
            second BLOB NOT NULL CHECK (length(second) = 16),
            noticed_ms INTEGER NOT NULL,
            decision TEXT CHECK (decision IN ('keep_both', 'keep_first', 'keep_second')),
            decided_ms INTEGER,
            UNIQUE (first, second)
        ) STRICT;
        INSERT INTO findings_wider (number, relation, first, second, noticed_ms, decision, decided_ms)
            SELECT number, relation, first, second, noticed_ms, decision, decided_ms FROM findings;
        UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'findings')
            WHERE name = 'findings_wider' AND EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'findings');
        DROP TABLE findings;
        ALTER TABLE findings_wider RENAME TO findings;

        -- Turns that only repeat a memory, by their idempotency key: not stored, but known when they come again.
        CREATE TABLE echoes (
            key TEXT PRIMARY KEY,
            memory INTEGER NOT NULL REFERENCES memories (row) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX echoes_by_memory ON echoes (memory);
    """)


@MIGRATIONS(name="0006_cues")
def _cues(db: "Database") -> None:
    db.executescript("""
        -- What the text shows of its own accord (the bits of `phrases`); NULL until it was read for them.
        ALTER TABLE memories ADD COLUMN cues INTEGER CHECK (cues BETWEEN 0 AND 255);
        CREATE INDEX memories_unread ON memories (row) WHERE cues IS NULL;
        -- A turn's time is when it was said, so only what is no turn can lie ahead.
        CREATE INDEX memories_happening ON memories (occurred_ms) WHERE kind <> 'turn' AND occurred_ms IS NOT NULL;
    """)


@MIGRATIONS(name="0007_models")
def _models(db: "Database") -> None:
    db.executescript("""
        -- Vectors of a model that is to take over, while the others go on serving.
        CREATE TABLE vectors_coming (
            memory INTEGER PRIMARY KEY REFERENCES memories (row) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models (number),
            code BLOB NOT NULL
        ) STRICT;
        -- The folder of the model that the person chose for this vault, if it is not what the settings say.
        CREATE TABLE model_chosen (
            one INTEGER PRIMARY KEY CHECK (one = 1),
            folder TEXT NOT NULL
        ) STRICT;
        -- Late interaction's: two bits for each dimension of each token. Empty unless that is on.
        CREATE TABLE token_codes (
            memory INTEGER PRIMARY KEY REFERENCES memories (row) ON DELETE CASCADE,
            model INTEGER NOT NULL REFERENCES models (number),
            code BLOB NOT NULL
        ) STRICT;
    """)


@MIGRATIONS(name="0008_blocks")
def _blocks(db: "Database") -> None:  # allow long-function: one schema, read in one piece
    (last,) = db.execute("SELECT max(seq) FROM sqlite_sequence WHERE name = 'memories'").fetchone()
    db.conn.create_function("key_digest", 1, lambda key: key and bytes.fromhex(short_key(key)))
    db.executescript("""
        -- A conversation's or a client's name stands here once, not in each of its memories.
        CREATE TABLE names (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE CHECK (name <> '')
        ) STRICT;
        INSERT INTO names (name) SELECT space FROM memories
            UNION SELECT trust FROM memories
            UNION SELECT speaker FROM memories WHERE speaker <> ''
            UNION SELECT conversation FROM memories WHERE conversation <> ''
            UNION SELECT client FROM memories WHERE client <> ''
            UNION SELECT tool FROM memories WHERE tool <> '';

        -- The text of a memory is in one of two places: here, or in a block.
        CREATE TABLE texts (
            memory INTEGER PRIMARY KEY REFERENCES memories (row) ON DELETE CASCADE,
            text TEXT NOT NULL
        ) STRICT;
        INSERT INTO texts (memory, text) SELECT row, text FROM memories;
        -- The texts of many memories, compressed together; against those of another block, its head, if it has one.
        CREATE TABLE blocks (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            head INTEGER REFERENCES blocks (number),
            body BLOB NOT NULL
        ) STRICT;
        CREATE INDEX blocks_by_head ON blocks (head) WHERE head IS NOT NULL;
        -- The last consolidation, in its one row.
        CREATE TABLE consolidation (
            number INTEGER PRIMARY KEY CHECK (number = 1),
            at_ms INTEGER NOT NULL,
            did TEXT NOT NULL CHECK (did IN ('packed', 'undone')),
            memories INTEGER NOT NULL,
            bytes_before INTEGER NOT NULL,
            bytes_after INTEGER NOT NULL
        ) STRICT;

        CREATE TABLE new_records (
            row INTEGER PRIMARY KEY AUTOINCREMENT,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            kind TEXT NOT NULL,
            -- from here on, where a number stands for a name, it is one of `names`
            space INTEGER NOT NULL,
            occurred_ms INTEGER,
            valid_from_ms INTEGER,
            valid_to_ms INTEGER,
            speaker INTEGER,
            conversation INTEGER,
            position INTEGER,
            trust INTEGER NOT NULL,
            client INTEGER,
            tool INTEGER,
            key BLOB CHECK (length(key) = 16),
            importance REAL NOT NULL CHECK (importance BETWEEN 0 AND 1),
            pinned INTEGER NOT NULL CHECK (pinned IN (0, 1)),
            archived INTEGER NOT NULL CHECK (archived IN (0, 1)),
            superseded_by BLOB CHECK (length(superseded_by) = 16),
            version INTEGER NOT NULL CHECK (version >= 1),
            created_ms INTEGER NOT NULL,
            updated_ms INTEGER NOT NULL,
            -- keyed hash of the text: finds the same words again without a second copy of them
            digest BLOB NOT NULL CHECK (length(digest) = 16),
            -- what ranking knows of a text without reading it
            chars INTEGER NOT NULL,
            question INTEGER NOT NULL CHECK (question IN (0, 1)),
            -- what the text shows of its own accord (the bits of `phrases`); NULL until it was read for them
            cues INTEGER CHECK (cues BETWEEN 0 AND 255),
            block INTEGER
        ) STRICT;
        INSERT INTO new_records (row, id, kind, space, occurred_ms, valid_from_ms, valid_to_ms, speaker, conversation,
                position, trust, client, tool, key, importance, pinned, archived, superseded_by, version, created_ms,
                updated_ms, digest, chars, question, cues)
            SELECT row, id, kind, (SELECT number FROM names WHERE name = space), occurred_ms, valid_from_ms, valid_to_ms,
                (SELECT number FROM names WHERE name = speaker), (SELECT number FROM names WHERE name = conversation),
                position, (SELECT number FROM names WHERE name = trust), (SELECT number FROM names WHERE name = client),
                (SELECT number FROM names WHERE name = tool), key_digest(key), importance, pinned, archived,
                superseded_by, version, created_ms, updated_ms, digest, chars, question, cues
            FROM memories;
        -- Renamed first, so that whatever refers to the old table refers to the new one; foreign keys are off meanwhile.
        ALTER TABLE memories RENAME TO records;
        DROP TABLE records;
        ALTER TABLE new_records RENAME TO records;
        CREATE UNIQUE INDEX records_by_key ON records (key) WHERE key IS NOT NULL;
        -- the last five bytes name a memory in what people and assistants read
        CREATE INDEX records_by_short_id ON records (substr(id, 12));
        -- A turn is known by its key: the same words may be said again and again.
        CREATE INDEX records_by_digest ON records (digest) WHERE conversation IS NULL;
        CREATE INDEX records_by_conversation ON records (conversation, position) WHERE conversation IS NOT NULL;
        CREATE INDEX records_pinned ON records (row) WHERE pinned = 1;
        CREATE INDEX records_superseding ON records (superseded_by) WHERE superseded_by IS NOT NULL;
        CREATE INDEX records_unread ON records (row) WHERE cues IS NULL;
        -- A turn's time is when it was said, so only what is no turn can lie ahead.
        CREATE INDEX records_happening ON records (occurred_ms) WHERE kind <> 'turn' AND occurred_ms IS NOT NULL;

        -- Records as they are spoken about, with their names; all but the text, which `vault.texts` reads.
        CREATE VIEW memories AS
            SELECT records.row, id, kind, space.name AS space, occurred_ms, valid_from_ms, valid_to_ms,
                speaker.name AS speaker, conversation.name AS conversation, position, trust.name AS trust,
                client.name AS client, tool.name AS tool, key, importance, pinned, archived, superseded_by, version,
                created_ms, updated_ms, digest, chars, question, cues
            FROM records
            LEFT JOIN names AS space ON space.number = records.space
            LEFT JOIN names AS speaker ON speaker.number = records.speaker
            LEFT JOIN names AS conversation ON conversation.number = records.conversation
            LEFT JOIN names AS trust ON trust.number = records.trust
            LEFT JOIN names AS client ON client.number = records.client
            LEFT JOIN names AS tool ON tool.number = records.tool;

        -- Keys that are digests here, too.
        ALTER TABLE echoes RENAME TO former_echoes;
        CREATE TABLE echoes (
            key BLOB PRIMARY KEY CHECK (length(key) = 16),
            memory INTEGER NOT NULL REFERENCES records (row) ON DELETE CASCADE
        ) STRICT, WITHOUT ROWID;
        INSERT INTO echoes (key, memory) SELECT key_digest(key), memory FROM former_echoes;
        DROP TABLE former_echoes;
        CREATE INDEX echoes_by_memory ON echoes (memory);
    """)
    if last is not None:
        db.execute("DELETE FROM sqlite_sequence WHERE name = 'records'")
        db.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('records', ?)", [last])


@MIGRATIONS(name="0009_cues_of_notes")
def _cues_of_notes(db: "Database") -> None:
    # What an assistant noted in the person's own words ("I am allergic …") showed nothing when it was read first.
    db.execute("UPDATE records SET cues = NULL WHERE kind NOT IN ('turn', 'document', 'summary')")


@MIGRATIONS(name="0010_sync")
def _sync(db: "Database") -> None:
    db.executescript(CHANGE_LOG)
    db.executescript("""
        -- What devices have agreed on about a memory, but for the values, which its record and its text are.
        CREATE TABLE sync_states (
            memory INTEGER PRIMARY KEY REFERENCES records (row) ON DELETE CASCADE,
            clocks BLOB NOT NULL,
            -- values that the record does not hold as they came: a kind that only a newer version knows, a key that is another's
            kept BLOB
        ) STRICT;
        CREATE INDEX sync_states_kept ON sync_states (memory) WHERE kept IS NOT NULL;
        -- Dead for ever: whatever is still said about them changes nothing.
        CREATE TABLE sync_forgotten (
            id BLOB PRIMARY KEY CHECK (length(id) = 16)
        ) STRICT, WITHOUT ROWID;
        -- Memories of which something is known, and no text yet: whole states, to be shown when they can be.
        CREATE TABLE sync_partial (
            number INTEGER PRIMARY KEY,
            id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
            state BLOB NOT NULL
        ) STRICT;
    """)


@MIGRATIONS(name="0011_sync_meeting")
def _sync_meeting(db: "Database") -> None:
    db.executescript(MEETING)


@MIGRATIONS(name="0012_sync_name")
def _sync_name(db: "Database") -> None:
    # What the person has called this device, until it has joined and the device list says it.
    db.execute("ALTER TABLE sync_meeting ADD COLUMN name TEXT")


@MIGRATIONS(name="0013_sync_losses")
def _sync_losses(db: "Database") -> None:
    db.executescript(LOSSES)


@MIGRATIONS(name="0014_sync_digests")
def _sync_digests(db: "Database") -> None:
    db.executescript(DIGESTS)


@MIGRATIONS(name="0017_vector_lists")
def _vector_lists(db: "Database") -> None:
    db.executescript(VECTOR_LISTS)
