package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"

	mysqldriver "github.com/go-sql-driver/mysql"

	"github.com/dtc-project/dtc/cmd/dtc/internal/access"
	"github.com/dtc-project/dtc/mysql"
)

var mySQL = kind{
	name: "mysql", tls: "ssl-mode, ssl-ca, ssl-cert, ssl-key",
	check: checkMySQL, open: openMySQL, look: lookMySQL,
}

func checkMySQL(u *url.URL) error {
	_, err := myConfig(u.String())
	return err
}

// myParameters are what may stand behind the ? of a URL. Those about TLS are named as
// MySQL's own clients name them.
var myParameters = map[string]func(cfg *mysqldriver.Config, value string) error{
	"socket": func(cfg *mysqldriver.Config, value string) error {
		cfg.Net, cfg.Addr = "unix", value
		return nil
	},
	"found-rows": func(cfg *mysqldriver.Config, value string) error {
		cfg.ClientFoundRows = value == "true"
		if value != "true" && value != "false" {
			return errors.New("it is neither true nor false")
		}
		return nil
	},
	"ssl-mode": nil, "ssl-ca": nil, "ssl-cert": nil, "ssl-key": nil, // see myTLS
}

// myConfig reads a URL. What it says of a mistake shows no values.
func myConfig(rawURL string) (*mysqldriver.Config, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("its url cannot be read")
	}
	cfg := mysqldriver.NewConfig()
	// What the driver would write to standard error is in the errors that it returns.
	cfg.Logger = &mysqldriver.NopLogger{}
	cfg.ConnectionAttributes = "program_name:dtc"
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.DBName = strings.TrimPrefix(u.Path, "/")
	port := u.Port()
	if port == "" {
		port = "3306"
	}
	cfg.Net, cfg.Addr = "tcp", net.JoinHostPort(u.Hostname(), port)
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("its url cannot be used: what stands behind the ? cannot be read")
	}
	for _, name := range slices.Sorted(maps.Keys(query)) {
		set, known := myParameters[name]
		switch {
		case !known:
			return nil, fmt.Errorf("its url cannot be used: %.30q is none of the parameters %s", name, strings.Join(slices.Sorted(maps.Keys(myParameters)), ", "))
		case len(query[name]) > 1:
			return nil, fmt.Errorf("its url cannot be used: %s stands there twice", name)
		case set == nil:
			continue
		}
		if err := set(cfg, query.Get(name)); err != nil {
			return nil, fmt.Errorf("its url cannot be used: %s: %w", name, err)
		}
	}
	switch {
	case cfg.User == "":
		return nil, errors.New("its url cannot be used: it names no user; write mysql://USER@HOST:PORT/DATABASE")
	case cfg.DBName == "" || strings.Contains(cfg.DBName, "/"):
		return nil, errors.New("its url cannot be used: it names no database; write mysql://USER@HOST:PORT/DATABASE")
	case cfg.Net == "tcp" && u.Hostname() == "":
		return nil, errors.New("its url cannot be used: it names no host; write mysql://USER@HOST:PORT/DATABASE")
	}
	if err := myTLS(cfg, u.Hostname(), query); err != nil {
		return nil, fmt.Errorf("its url cannot be used: %w", err)
	}
	return cfg, nil
}

// myTLS sets how the connection is encrypted, and whom it trusts.
func myTLS(cfg *mysqldriver.Config, host string, query url.Values) error {
	ca, cert, key := query.Get("ssl-ca"), query.Get("ssl-cert"), query.Get("ssl-key")
	mode := strings.ToUpper(query.Get("ssl-mode"))
	if mode == "" {
		mode = "PREFERRED"
	}
	verifies := mode == "VERIFY_CA" || mode == "VERIFY_IDENTITY"
	switch {
	case !verifies && !slices.Contains([]string{"DISABLED", "PREFERRED", "REQUIRED"}, mode):
		return errors.New("ssl-mode is none of DISABLED, PREFERRED, REQUIRED, VERIFY_CA and VERIFY_IDENTITY")
	case mode == "DISABLED" && ca+cert+key != "":
		return errors.New("ssl-mode=DISABLED goes with no certificates")
	case !verifies && ca != "":
		return errors.New("ssl-ca is for ssl-mode=VERIFY_CA and ssl-mode=VERIFY_IDENTITY")
	case mode == "DISABLED" || cfg.Net == "unix" && mode == "PREFERRED":
		return nil
	}
	c, err := access.ClientConfig(ca, cert, key, host)
	if err != nil {
		return err
	}
	// Of PREFERRED and REQUIRED nothing is verified; of VERIFY_CA all but the name.
	c.InsecureSkipVerify = mode != "VERIFY_IDENTITY"
	if mode == "VERIFY_CA" {
		c.VerifyConnection = issued(c.RootCAs)
	}
	cfg.TLS, cfg.AllowFallbackToPlaintext = c, mode == "PREFERRED"
	return nil
}

// issued verifies that one of the authorities has issued the server's certificate, to
// whomever.
func issued(roots *x509.CertPool) func(tls.ConnectionState) error {
	return func(s tls.ConnectionState) error {
		all := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range s.PeerCertificates[1:] {
			all.Intermediates.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(all)
		return err
	}
}

func myConnector(s *Source) (driver.Connector, error) {
	cfg, err := myConfig(s.URL)
	if err != nil {
		return nil, err
	}
	if s.Password != nil {
		err = cfg.Apply(mysqldriver.BeforeConnect(func(_ context.Context, c *mysqldriver.Config) (err error) {
			c.Passwd, err = s.Password()
			return err
		}))
		if err != nil {
			return nil, err
		}
	}
	return mysqldriver.NewConnector(cfg)
}

// myDatabase closes the pool that was made for it.
type myDatabase struct {
	*mysql.Database
	pool *sql.DB
}

func (d *myDatabase) Close() {
	d.Database.Close()
	_ = d.pool.Close()
}

// myForbidden are the server's errors that say that a privilege is missing: on the schema,
// on a table, or one of the server's.
var myForbidden = []uint16{1044, 1142, 1227}

func openMySQL(ctx context.Context, id string, s *Source) (opened, error) {
	c, err := myConnector(s)
	if err != nil {
		return nil, err
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(s.Conns)
	pool.SetMaxIdleConns(s.Conns)
	d, err := mysql.Open(ctx, id, pool, c, nil)
	if err != nil {
		_ = pool.Close()
		var answer *mysql.ServerError
		switch {
		case errors.Is(err, mysql.ErrUnusable):
			err = unusable(err, mysql.ErrUnusable)
		case errors.As(err, &answer) && slices.Contains(myForbidden, answer.Number):
			found, _ := lookMySQL(ctx, s)
			err = forbidden(found, err)
		}
		return nil, err
	}
	return &myDatabase{d, pool}, nil
}

func lookMySQL(ctx context.Context, s *Source) ([]Finding, error) {
	c, err := myConnector(s)
	if err != nil {
		return nil, err
	}
	found, err := mysql.Look(ctx, c, nil)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, f := range found {
		all = append(all, Finding{Bad: f.Fatal || f.Lossy, What: f.Setting + " is " + f.Value, Advice: f.Remedy})
	}
	return all, nil
}
