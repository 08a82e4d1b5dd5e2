-- Roles belong to the whole server, so they are made before the migrations, which belong to one database. None can log in:
-- whoever DATABASE_URL names becomes one of them for each transaction, and without becoming one can do nothing.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['sunaiva_owner', 'sunaiva_app', 'sunaiva_read', 'sunaiva_lookup'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', name);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL; -- another database of this server is being set up at the same moment
            END;
        END IF;
        -- sunaiva_lookup is for the owner alone: it owns the few functions that look across accounts.
        IF name <> 'sunaiva_lookup' AND NOT pg_has_role(current_user, name, 'SET') THEN
            EXECUTE format('GRANT %I TO CURRENT_USER WITH INHERIT FALSE, SET TRUE', name);
        END IF;
    END LOOP;
    IF NOT pg_has_role('sunaiva_owner', 'sunaiva_lookup', 'SET') THEN
        GRANT sunaiva_lookup TO sunaiva_owner WITH INHERIT FALSE, SET TRUE;
    END IF;
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO sunaiva_owner', current_database());
    GRANT USAGE, CREATE ON SCHEMA public TO sunaiva_owner, sunaiva_lookup;
    GRANT USAGE ON SCHEMA public TO sunaiva_app, sunaiva_read;
END
$$;
