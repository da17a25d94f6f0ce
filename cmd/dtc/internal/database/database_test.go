package database

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc"
)

// TestCheck: what is wrong with a URL is said without what may be secret in it.
func TestCheck(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u:hunter2@h:5432/db":                                            "",
		"PostgreSQL://h/db?sslmode=disable&pool_max_conns=4":                        "",
		"postgres://u:hunter2@h:notaport/db":                                        "cannot be read",
		"postgres://u:hunter2@h/db?sslmode=hunter":                                  "sslmode",
		"postgres://u:hunter2@h/db?sslmode=verify-full&sslrootcert=/nowhere/ca.pem": "/nowhere/ca.pem",
		"postgres://u@h/db?password=hunter2&sslmode=x":                              "sslmode",
		"postgres://u:%zz-hunter2@h/db":                                             "cannot be read",
		"postgres://u:hunter2@h/db?pool_max_conns=x":                                "pool_max_conns",

		"mysql://u:hunter2@h:3306/db":                                  "",
		"MariaDB://u@h/db?ssl-mode=required&found-rows=true":           "",
		"mysql://u:hunter2@/db?socket=/run/mysqld/mysqld.sock":         "",
		"mysql://u:hunter2@[::1]/db?ssl-mode=DISABLED":                 "",
		"mysql://u:hunter2@h:notaport/db":                              "cannot be read; write mysql://USER@HOST:PORT/DATABASE",
		"mysql://u:%zz-hunter2@h/db":                                   "cannot be read",
		"mysql://u:hunter2@h/db?a=%zz-hunter2":                         "cannot be read",
		"mysql://h/db":                                                 "names no user",
		"mysql://u:hunter2@h":                                          "names no database",
		"mysql://u:hunter2@h/a/b":                                      "names no database",
		"mysql://u:hunter2@/db":                                        "names no host",
		"mysql://u@h/db?password=hunter2":                              `"password" is none of the parameters found-rows, socket, ssl-ca`,
		"mysql://u:hunter2@h/db?found-rows=hunter2":                    "found-rows",
		"mysql://u:hunter2@h/db?socket=/a&socket=/b":                   "socket stands there twice",
		"mysql://u:hunter2@h/db?ssl-mode=hunter2":                      "ssl-mode is none of DISABLED",
		"mysql://u:hunter2@h/db?ssl-ca=/nowhere/ca.pem":                "ssl-ca is for ssl-mode=VERIFY_CA",
		"mysql://u:hunter2@h/db?ssl-mode=DISABLED&ssl-cert=c":          "goes with no certificates",
		"mysql://u:hunter2@h/db?ssl-mode=VERIFY_CA&ssl-ca=/nowhere/ca": "/nowhere/ca",
		"mysql://u:hunter2@h/db?ssl-mode=REQUIRED&ssl-cert=/c":         "takes both",
	} {
		err := Check(url)
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", url, err)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%s: %v, want %q", url, err, want)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("%s: the password is shown: %v", url, err)
		}
	}
}

func TestAddress(t *testing.T) {
	for url, want := range map[string]string{
		"postgres://u:hunter2@h:5432/db?password=hunter2#hunter2": "postgres://h:5432/db",
		"postgresql://h/db":                              "postgres://h/db",
		"postgres://u:%zz-hunter2@h/db":                  "(a URL that cannot be read)",
		"mariadb://u:hunter2@h:3306/db?ssl-mode=hunter2": "mysql://h:3306/db",
	} {
		if got := Address(url); got != want {
			t.Errorf("%s: %s", url, got)
		}
	}
}

// TestPasswordIsUsed: it is taken out before the URL is read, and put back.
func TestPasswordIsUsed(t *testing.T) {
	t.Setenv("PGPASSWORD", "of the environment")
	for url, want := range map[string]string{
		"postgres://u:hunter2@h/db":          "hunter2",
		"postgres://u@h/db?password=hunter3": "hunter3",
		"postgres://u@h/db":                  "of the environment",
		"postgres://u:@h/db":                 "",
	} {
		cfg, err := pgConfig(url)
		if err != nil || cfg.ConnConfig.Password != want {
			t.Errorf("%s: %q, %v", url, cfg.ConnConfig.Password, err)
		}
	}
}

// TestDown: a database that cannot be reached gives no answer, and no vote.
func TestDown(t *testing.T) {
	for _, scheme := range []string{"postgres", "mysql"} {
		t.Run(scheme, func(t *testing.T) { down(t, scheme) })
	}
}

func down(t *testing.T, scheme string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	p, err := New("orders", Source{URL: scheme + "://u:hunter2@" + address + "/db", Conns: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_, err = p.Prepare(ctx, dtc.Branch{})
	if !errors.Is(err, dtc.ErrNoAnswer) {
		t.Errorf("prepare: %v", err)
	}
	if _, listed := p.InDoubt(ctx, dtc.LogID{}); listed == nil {
		t.Error("it lists what it cannot know")
	}
	for what, err := range map[string]error{"probe": p.Probe(ctx), "commit": p.Commit(ctx, dtc.Branch{}), "rollback": p.Rollback(ctx, dtc.Branch{})} {
		if err == nil || errors.Is(err, ErrUnusable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Probe(ctx); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestHangs: who waits while another opens the database waits no longer than it wants to.
func TestHangs(t *testing.T) {
	for url, settings := range map[string]string{"postgres://": "/db?sslmode=disable", "mysql://u@": "/db"} {
		t.Run(url, func(t *testing.T) { hangs(t, url, settings) })
	}
}

func hangs(t *testing.T, url, settings string) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // accepts, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := New("orders", Source{URL: url + l.Addr().String() + settings})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	first, stop := context.WithCancel(t.Context())
	opened := make(chan error, 1)
	go func() { opened <- p.Probe(first) }()
	conn, err := l.Accept() // the first is on its way
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	second, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := p.Commit(second, dtc.Branch{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the second: %v", err)
	}
	stop()
	if err := <-opened; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
}
