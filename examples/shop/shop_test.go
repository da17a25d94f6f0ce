package shop_test

import (
	"bufio"
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// script is a shell script that runs in a process group of its own, so that nothing
// that it starts outlives the test.
func script(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	for _, tool := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("the example needs %s: %v", tool, err)
		}
	}
	cmd := exec.Command("sh", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	t.Cleanup(func() {
		if cmd.Process != nil {
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		}
	})
	return cmd
}

// built is where the script has built the programs of the shop, once for all tests: to link
// them is most of the work here.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "shop-bin-")
	if err != nil {
		return "", err
	}
	builtDir = dir
	cmd := exec.Command("sh", "run.sh", "--once", "--dir", dir, "--port", "0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return filepath.Join(dir, "bin"), nil
})

var builtDir string

func TestMain(m *testing.M) {
	code := m.Run()
	if builtDir != "" {
		os.RemoveAll(builtDir)
	}
	os.Exit(code)
}

// prebuilt is a script that need not build.
func prebuilt(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	cmd := script(t, args...)
	cmd.Env = append(os.Environ(), "SHOP_BIN="+dir)
	return cmd
}

// wantInOrder fails unless out has the texts one after the other.
func wantInOrder(t *testing.T, out string, texts ...string) {
	t.Helper()
	rest := out
	for _, text := range texts {
		_, after, ok := strings.Cut(rest, text)
		if !ok {
			t.Fatalf("it does not say %q after what comes before:\n%s", text, out)
		}
		rest = after
	}
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not so after 30 s: ", what)
		}
	}
}

// wantGone waits until the processes that the output names have ended.
func wantGone(t *testing.T, out string) {
	t.Helper()
	named := regexp.MustCompile(`\bpid (\d+)`).FindAllStringSubmatch(out, -1)
	if len(named) != 4 {
		t.Errorf("it names %d processes:\n%s", len(named), out)
	}
	for _, n := range named {
		until(t, n[0]+" has ended", func() bool {
			pid, _ := strconv.Atoi(n[1])
			return syscall.Kill(pid, 0) != nil
		})
	}
}

// theStory is what the storefront shows.
var theStory = []string{
	"Before:", `{"item":"keyboard","on_shelf":1000,"set_aside":0}`, `{"customer":"alice","balance":2500000,"on_hold":0}`, `{"orders":[]}`,
	"-1: alice orders 2 keyboard", "committed: in all three",
	"-2: alice orders 5 lamp", "rolled_back: in all three services, because inventory said: out of stock: 5 lamp wanted, 3 left",
	"-3: bob orders 1 keyboard", "rolled_back: in all three services, because payment said: card refused",
	"After:", `{"item":"keyboard","on_shelf":998,"set_aside":0}`, `{"item":"lamp","on_shelf":3,"set_aside":0}`,
	`{"customer":"alice","balance":2495000,"on_hold":0}`, `{"customer":"bob","balance":1000,"on_hold":0}`,
	`-1","customer":"alice","item":"keyboard","quantity":2,"amount":5000}]}`,
}

func TestShopOnce(t *testing.T) {
	t.Parallel()
	cmd := prebuilt(t, "run.sh", "--once", "--port", "0")
	temp := t.TempDir()
	cmd.Env = append(cmd.Env, "TMPDIR="+temp)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	wantInOrder(t, string(out), append(theStory, "OK: 1 orders, each in all three files")...)
	wantGone(t, string(out))
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it left %v %v", left, err)
	}
}

// TestShopPlay plays what the README invites to: payment is killed between its vote
// and its commit, and comes back.
func TestShopPlay(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := prebuilt(t, "run.sh", "--dir", dir, "--port", "0")
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := ""
	for lines := bufio.NewScanner(stdout); !strings.Contains(said, "examples/shop/README.md") && lines.Scan(); {
		said += lines.Text() + "\n"
	}
	wantInOrder(t, said, append(theStory, "it goes on running until Ctrl-C")...)
	at := func(name string) string {
		found := regexp.MustCompile(`(?m)^ +` + name + ` +(http://\S+)`).FindStringSubmatch(said)
		if found == nil {
			t.Fatalf("it does not say where %s is:\n%s%s", name, said, &complaints)
		}
		return found[1]
	}
	post(t, at("payment")+"/hesitate?for=1h", "")
	answer := post(t, at("dtc")+"/v1/transactions", `{"id":"order-x","completion_wait":"1ms","branches":[
		{"participant":"inventory","payload":{"item":"keyboard","quantity":1}},
		{"participant":"payment","payload":{"customer":"alice","amount":2500}},
		{"participant":"orders","payload":{"customer":"alice","item":"keyboard","quantity":1,"amount":2500}}]}`)
	if !strings.Contains(answer, `"outcome":"committed"`) {
		t.Fatal(answer)
	}
	until(t, "inventory has the order", func() bool { return strings.Contains(get(t, at("inventory")+"/stock"), `"on_shelf":997,"set_aside":0`) })
	pid, err := os.ReadFile(filepath.Join(dir, "payment.pid"))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", "kill -9 "+string(pid)).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	until(t, "the order waits for payment", func() bool {
		doc := get(t, at("dtc")+"/v1/transactions/order-x")
		return strings.Contains(doc, `"state":"committing"`) && strings.Contains(doc, "connection refused")
	})
	if out, ok := check(t, dir); ok || !strings.Contains(out, "FAILED: order-x: money only on hold") {
		t.Errorf("the check says %s", out)
	}
	again := exec.Command(filepath.Join(dir, "bin", "payment"), "--data", filepath.Join(dir, "payment.db"), "--listen", strings.TrimPrefix(at("payment"), "http://"))
	if err := again.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Process.Kill(); _ = again.Wait() }()
	until(t, "the order is finished", func() bool { return !strings.Contains(get(t, at("dtc")+"/v1/transactions/order-x"), `"ended":null`) })
	if out, ok := check(t, dir); !ok || !strings.Contains(out, "OK: 2 orders") {
		t.Errorf("the check says %s", out)
	}

	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("it was interrupted, and ended with %v: %s", err, &complaints)
	}
	wantGone(t, said)
}

// TestCheckFindsATornOrder breaks a file, to see that the check is one.
func TestCheckFindsATornOrder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := prebuilt(t, "run.sh", "--once", "--dir", dir, "--port", "0").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, breaking := range []struct{ file, query, finds string }{
		{"orders.db", "UPDATE customer_order SET quantity = 3", "is not the same everywhere"},
		{"inventory.db", "UPDATE stock SET on_shelf = on_shelf - 1 WHERE item = 'lamp'", "lamp: 3 delivered, 2 on the shelf"},
		{"payment.db", "UPDATE card SET balance = 1 WHERE customer = 'bob'", "bob: 1000 paid in, 1 left"},
		{"payment.db", "UPDATE charge SET state = 'on_hold'", "money only on hold"},
		{"payment.db", "DELETE FROM charge", "is in inventory orders only"},
	} {
		db, err := sql.Open("sqlite", filepath.Join(dir, breaking.file))
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Exec(breaking.query)
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if out, ok := check(t, dir); ok || !strings.Contains(out, breaking.finds) {
			t.Errorf("after %q the check says %s", breaking.query, out)
		}
	}
	// And the script tells of it.
	cmd := prebuilt(t, "run.sh", "--once", "--dir", dir, "--port", "0")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "FAILED: ") {
		t.Errorf("%v\n%s", err, out)
	}
	wantGone(t, string(out))
}

func TestRunRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	cmd := script(t, "run.sh", "--what")
	if out, err := cmd.CombinedOutput(); cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "usage: ") {
		t.Errorf("%v\n%s", err, out)
	}
}

// check runs the check that run.sh has built.
func check(t *testing.T, dir string) (out string, ok bool) {
	t.Helper()
	text, err := exec.Command(filepath.Join(dir, "bin", "check"), dir).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return string(text), err == nil
}

func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	return read(t, r)
}

func post(t *testing.T, url, body string) string {
	t.Helper()
	r, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return read(t, r)
}

func read(t *testing.T, r *http.Response) string {
	t.Helper()
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", r.Status, text)
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
