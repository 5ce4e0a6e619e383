-- Who may call the API. Ids are unique among all accounts, as they say which account a request is of.
CREATE TABLE access_keys (
    id TEXT NOT NULL PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The secret access key, encrypted with the master key.
    sealed_secret TEXT NOT NULL,
    -- The session token that requests must bring, encrypted likewise, or ''.
    sealed_session_token TEXT NOT NULL,
    -- An IAM policy document, or '' for one that may do everything.
    policy TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT
);
CREATE INDEX access_keys_by_age ON access_keys (created_at, id);
