-- AUTOINCREMENT, because no key may be given twice: a note, a session or an answer that is kept for a retry belongs to
-- whoever has the key. Without it SQLite gives that of the last row once more when the row has been deleted.
CREATE TABLE IF NOT EXISTS users (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    username TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    is_staff BOOLEAN NOT NULL DEFAULT FALSE,
    joined_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS topics (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    title TEXT NOT NULL,
    locked BOOLEAN NOT NULL DEFAULT FALSE,
    owner_id INTEGER NOT NULL REFERENCES users (id),
    created_at TIMESTAMP NOT NULL
);

CREATE TABLE IF NOT EXISTS comments (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    topic_id INTEGER NOT NULL REFERENCES topics (id) ON DELETE CASCADE,
    author_id INTEGER NOT NULL REFERENCES users (id),
    body TEXT NOT NULL,
    score INTEGER NOT NULL DEFAULT 0,
    rating DOUBLE,
    status TEXT NOT NULL DEFAULT 'published',
    edited_at TIMESTAMP,
    created_at TIMESTAMP NOT NULL
);

CREATE INDEX IF NOT EXISTS comments_of_topic ON comments (topic_id);

-- An amount has exactly two places, whoever writes it. The column is a text: a number would lose them.
CREATE TABLE IF NOT EXISTS notes (
    id TEXT PRIMARY KEY NOT NULL,
    owner_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    title TEXT NOT NULL,
    body TEXT,
    tags TEXT NOT NULL DEFAULT '[]',
    pinned BOOLEAN NOT NULL DEFAULT FALSE,
    due DATE,
    amount TEXT CHECK (amount GLOB '*[0-9].[0-9][0-9]')
);

CREATE INDEX IF NOT EXISTS notes_of_owner ON notes (owner_id);

-- The name is the hash of a token.
CREATE TABLE IF NOT EXISTS sessions (
    name TEXT PRIMARY KEY NOT NULL,
    user_id INTEGER NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    created_at TIMESTAMP NOT NULL,
    expires_at TIMESTAMP NOT NULL
);

CREATE INDEX IF NOT EXISTS sessions_of_user ON sessions (user_id);

-- What only the user could see goes with him, also where another program deletes him and, as is SQLite's default, looks
-- after no foreign key.
CREATE TRIGGER IF NOT EXISTS users_deleted AFTER DELETE ON users BEGIN
    DELETE FROM notes WHERE owner_id = OLD.id;
    DELETE FROM sessions WHERE user_id = OLD.id;
END;
