package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Finding is one thing that a look at the server has shown.
type Finding struct {
	// Fatal: the server cannot be a participant as it is.
	Fatal bool
	// Lossy: a crash may lose votes.
	Lossy bool
	// Setting and Value are what was found, Remedy what to do about it.
	Setting, Value, Remedy string
}

func (f Finding) String() string { return fmt.Sprintf("%s is %s: %s", f.Setting, f.Value, f.Remedy) }

// Findings looks at the server and says what stands in the way of distributed
// transactions, and what will when there is more work.
func (d *Database) Findings(ctx context.Context) ([]Finding, error) {
	return look(ctx, d.finish)
}

// Look is [Database.Findings] for a database that is not open: it changes nothing, and
// says too whether the tables are there or can be created.
func Look(ctx context.Context, pool *pgxpool.Pool, opts *Options) ([]Finding, error) {
	prefix := defaultPrefix
	if opts != nil && opts.TablePrefix != "" {
		prefix = opts.TablePrefix
	}
	if _, err := Schema(prefix); err != nil {
		return nil, err
	}
	all, err := look(ctx, pool)
	if err != nil {
		return nil, err
	}
	var there, schema, may bool
	err = pool.QueryRow(ctx, `SELECT (SELECT bool_and(to_regclass($1 || '_' || name) IS NOT NULL) FROM unnest($2::text[]) AS name), current_schema() IS NOT NULL,
		coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)`, prefix, tableNames).Scan(&there, &schema, &may)
	switch {
	case err != nil:
		return nil, fmt.Errorf("look for the tables: %w", safe(err))
	case !there && !schema:
		all = append(all, Finding{Fatal: true, Setting: "search_path", Value: "without a schema that exists", Remedy: "create one, or set it for this role: ALTER ROLE … SET search_path = …"})
	case !there && !may:
		all = append(all, Finding{
			Fatal: true, Setting: "the privilege to create tables " + prefix + "_…", Value: "missing",
			Remedy: "GRANT CREATE ON SCHEMA to this role, or create the tables as their owner and grant SELECT, INSERT, UPDATE and DELETE on them",
		})
	}
	return all, nil
}

func look(ctx context.Context, pool *pgxpool.Pool) ([]Finding, error) {
	var version, prepared, connections, listed int
	var fsync, synchronous, pages, conforming string
	var standby bool
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::int,
		current_setting('max_prepared_transactions')::int, current_setting('max_connections')::int,
		current_setting('fsync'), current_setting('synchronous_commit'), current_setting('full_page_writes'),
		current_setting('standard_conforming_strings'), pg_is_in_recovery(), (SELECT count(*) FROM pg_prepared_xacts)`).
		Scan(&version, &prepared, &connections, &fsync, &synchronous, &pages, &conforming, &standby, &listed)
	if err != nil {
		return nil, fmt.Errorf("the server's settings cannot be read: %w", safe(err))
	}
	var all []Finding
	add := func(when bool, f Finding) {
		if when {
			all = append(all, f)
		}
	}
	versionText := fmt.Sprintf("%d.%d", version/10000, version%10000)
	add(standby, Finding{
		Fatal: true, Setting: "pg_is_in_recovery()", Value: "true",
		Remedy: "this server is a standby, which shows no prepared transactions; connect to the primary (target_session_attrs=read-write)",
	})
	add(version < 130000, Finding{Fatal: true, Setting: "server_version", Value: versionText, Remedy: "use PostgreSQL 13 or newer"})
	add(prepared == 0, Finding{
		Fatal: true, Setting: "max_prepared_transactions", Value: "0",
		Remedy: fmt.Sprintf("ALTER SYSTEM SET max_prepared_transactions = %d; then restart the server", connections),
	})
	add(conforming != "on", Finding{Fatal: true, Setting: "standard_conforming_strings", Value: conforming, Remedy: "set it to on for this role or database"})
	add(fsync == "off", Finding{Lossy: true, Setting: "fsync", Value: "off", Remedy: "a crash loses votes: ALTER SYSTEM SET fsync = on"})
	add(synchronous == "off", Finding{
		Lossy: true, Setting: "synchronous_commit", Value: "off",
		Remedy: "a crash loses votes: ALTER ROLE … SET synchronous_commit = on",
	})
	add(pages == "off", Finding{Lossy: true, Setting: "full_page_writes", Value: "off", Remedy: "a crash may damage pages: set it to on"})
	add(prepared > 0 && prepared < connections, Finding{
		Setting: "max_prepared_transactions", Value: fmt.Sprint(prepared),
		Remedy: fmt.Sprintf("with all of max_connections = %d at work some prepares would be refused; raise it to that", connections),
	})
	add(prepared > 0 && listed*10 >= prepared*8, Finding{
		Setting: "prepared transactions", Value: fmt.Sprintf("%d of %d", listed, prepared),
		Remedy: "finish what is left (dtc tx list), or raise max_prepared_transactions",
	})
	add(olderThan(version), Finding{
		Setting: "server_version", Value: versionText,
		Remedy: "a checkpoint that meets a prepared transaction being rolled back may let it commit after a crash; use the last minor release",
	})
	return all, nil
}

// olderThan reports whether a release is one whose state files of prepared
// transactions were not yet written atomically: before 15.20 of the 15 series. Of the
// others no more is known here than that the last minor release is the one to use.
func olderThan(version int) bool { return version/10000 == 15 && version%10000 < 20 }

func (d *Database) probe(ctx context.Context) error {
	all, err := d.Findings(ctx)
	if err != nil {
		return err
	}
	for _, f := range all {
		if f.Fatal || f.Lossy && !d.opts.AllowLossy {
			return fmt.Errorf("%w: %v", ErrUnusable, f)
		}
	}
	return nil
}
