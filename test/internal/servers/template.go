package servers

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// Initialising a data directory takes seconds, copying one does not. So each kind
// makes one template per test process.
var templates = struct {
	sync.Mutex
	made map[*kind]*template
}{made: map[*kind]*template{}}

type template struct {
	dir string
	err error
}

func (k *kind) template() (string, error) {
	templates.Lock()
	defer templates.Unlock()
	m := templates.made[k]
	if m == nil {
		m = &template{}
		m.dir, m.err = k.makeTemplate()
		templates.made[k] = m
	}
	return filepath.Join(m.dir, "data"), m.err
}

func (k *kind) makeTemplate() (string, error) {
	dir, err := k.tempDir()
	if err != nil {
		return "", err
	}
	args, err := k.init(k, filepath.Join(dir, "data"), nil)
	if err != nil {
		return dir, err
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Dir = dir
	cmd.SysProcAttr = k.attr()
	cmd.SysProcAttr.Pdeathsig = 0 // ends by itself
	if out, err := cmd.CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%s: %w\n%s", args[0], err, out)
	}
	return dir, nil
}

// shared are the servers that live as long as the test process.
var shared = struct {
	sync.Mutex
	running map[*kind]*Server
}{running: map[*kind]*Server{}}

func (k *kind) shared(t testing.TB) *Server {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	s := shared.running[k]
	if s == nil {
		s = start(t, k, func(stop func()) { atExit = append(atExit, stop) })
		shared.running[k] = s
	}
	return s
}

// atExit is guarded by shared's lock.
var atExit []func()

// AtExit has [Main] call f when all tests have ended.
func AtExit(f func()) {
	shared.Lock()
	defer shared.Unlock()
	atExit = append(atExit, f)
}

// Main runs the tests of a package that uses servers, and cleans up after them:
//
//	func TestMain(m *testing.M) { os.Exit(servers.Main(m)) }
func Main(m *testing.M) int {
	defer func() {
		for _, stop := range slices.Backward(atExit) {
			stop()
		}
		removeRoot()
	}()
	return m.Run()
}
