package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/dtc-project/dtc"
	"github.com/dtc-project/dtc/cmd/dtc/internal/demo"
)

func TestLogStatAndHold(t *testing.T) {
	dir, _ := kept(t)
	var s statReport
	call(t, "log", "stat", "--data", dir, "-o", "json").decode(t, &s)
	if s.Held || s.Copied || s.Segments == 0 || s.Bytes == 0 || s.Remembered == 0 || s.Incarnations == 0 || s.Unfinished != 0 {
		t.Errorf("%+v", s)
	}
	dir = copyDir(t, dir) // the original is for other tests
	call(t, "log", "stat", "--data", dir).want(t, exitDone, "files are copies", "remembered ", "incarnations ", "0 are in doubt\n")
	call(t, "log", "release", "--data", dir).want(t, exitUsage, "--reason")
	call(t, "log", "hold", "--data", filepath.Join(dir, "none"), "--reason", "x").want(t, exitFailed, "does not exist")

	r := call(t, "log", "hold", "--data", dir, "--reason", "the volume was restored", "-o", "json")
	var h holdReport
	r.decode(t, &h)
	if r.code != exitDone || !h.Held || h.Through == 0 {
		t.Errorf("%+v, %+v", r, h)
	}
	call(t, "log", "stat", "--data", dir).want(t, exitDone, "the volume was restored", "dtc log release")
	call(t, "log", "dump", "--data", dir).want(t, exitDone, "hold ", "of the incarnations up to ")
	call(t, "log", "verify", "--data", dir).want(t, exitDone, "sound")

	// A coordinator that has it open is not disturbed.
	c, err := dtc.Open(filepath.Join(dir, demo.LogDir), nil)
	if err != nil {
		t.Fatal(err)
	}
	if held, ok := c.Held(); !ok || held.Through != h.Through {
		t.Errorf("the coordinator says %+v, %v", held, ok)
	}
	call(t, "log", "release", "--data", dir, "--reason", "all is well").want(t, exitInUse)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	call(t, "log", "release", "--data", dir, "--reason", "all is well").want(t, exitDone, "released")
	before := listing(t, dir)
	call(t, "log", "release", "--data", dir, "--reason", "again").want(t, exitFailed, "nothing to release")
	if after := listing(t, dir); after != before {
		t.Errorf("with nothing to release the files were changed:\n%s%s", before, after)
	}
	call(t, "log", "stat", "--data", dir).want(t, exitDone, "hold          none")
	call(t, "log", "verify", "--data", dir).want(t, exitDone, "sound")
}

// listing returns the names, sizes and times of the log's files.
func listing(t *testing.T, dir string) (text string) {
	t.Helper()
	list, err := os.ReadDir(filepath.Join(dir, demo.LogDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		text += fmt.Sprintln(info.Name(), info.Size(), info.ModTime())
	}
	return text
}
