-- Tokens of a retired signing key are refused. Its row stays, without the private key.

-- When the key was retired, in milliseconds.
ALTER TABLE signing_keys ADD COLUMN retired_at BIGINT;
