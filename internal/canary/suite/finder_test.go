//go:build canary

package suite

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dtc-project/dtc/internal/canary"
)

// finder is a test that is there anyhow, and what it says when it has found a bug.
// The last group of must, if it is a number, is the run that found it.
type finder struct {
	pkg  string // its directory below the root
	test string // -test.run
	must string // matches a line of its output, or one and the next
}

const (
	root = "../../.."
	// most is what ends a finder that hangs. A bug may make any test hang.
	most = 3 * time.Minute
	// seeds is how many seeds of the simulator a bug may live through.
	seeds = 2000
)

func simulator(breaks string) finder {
	return finder{"internal/sim", "TestSeeds$", `(?:` + breaks + `) does not hold: .*\n.* -seed=(\d+)`}
}

func explorer(bug canary.Bug, breaks string) finder {
	return finder{"internal/explore", "TestCanaries$/^" + string(bug) + "$", string(bug) + " violates " + breaks + ` after (\d+) states`}
}

func pairs(bug canary.Bug, breaks string) finder {
	return finder{"internal/explore", "TestPairCanaries$/^" + string(bug) + "$", string(bug) + " violates " + breaks + ` after (\d+) states`}
}

func once(bug canary.Bug, breaks string) finder {
	return finder{"internal/explore", "TestOnceCanaries$/^" + string(bug) + "$", string(bug) + " violates " + breaks + ` after (\d+) states`}
}

func test(pkg, test, must string) finder { return finder{pkg, test + "$", must} }

func guards() finder { return finder{"internal/sim/simdb", "TestGuardSeeds$", `seed (\d+), \{`} }

// bench holds the test binaries that were built.
type bench struct {
	dir   string
	built map[string]string
}

func (b *bench) binary(t *testing.T, pkg string) string {
	t.Helper()
	file := b.built[pkg]
	if file != "" {
		return file
	}
	file = filepath.Join(b.dir, strings.ReplaceAll(pkg, "/", "-")+".test")
	build := exec.Command("go", "test", "-tags", "canary", "-c", "-o", file, "./"+pkg)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	b.built[pkg] = file
	return file
}

// run runs a finder with a bug until it says what it must, and returns the run in
// which it found it, or 0, and the end of what it said. passed reports whether the
// test came to its end and passed.
func (b *bench) run(t *testing.T, f finder, bug canary.Bug, n int) (found int, line string, passed bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), most)
	defer cancel()
	file := b.binary(t, f.pkg)
	cmd := exec.CommandContext(ctx, file, "-test.v", "-test.short", "-test.run", f.test)
	cmd.Dir = filepath.Join(root, f.pkg)
	cmd.Env = append(os.Environ(), "DTC_CANARY="+string(bug), fmt.Sprint("DTC_SEEDS=", n), "DTC_TALLY=")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	must := regexp.MustCompile(f.must)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		before := line
		line = lines.Text()
		m := must.FindStringSubmatch(before + "\n" + line)
		if m == nil {
			continue
		}
		line = m[0]
		found = 1
		if len(m) > 1 {
			found, _ = strconv.Atoi(m[1])
		}
		cancel() // all else that it may say is of no interest
		break
	}
	err = cmd.Wait()
	return max(found, 0), line, err == nil
}
