package shop_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

const guide = "../../docs/guides/curl.md"

// block is a piece of the guide: commands, and the answer that is shown to the last
// of them, if one is.
type block struct {
	line     int
	commands string
	answer   string
}

func readGuide(t *testing.T) (blocks []block) {
	t.Helper()
	text, err := os.ReadFile(guide)
	if err != nil {
		t.Fatal(err)
	}
	fence, n := "", 0
	for line := range strings.Lines(string(text)) {
		n++
		switch word := strings.TrimSpace(line); {
		case fence != "" && word == "```":
			fence = ""
		case fence == "sh":
			blocks[len(blocks)-1].commands += line
		case fence == "json":
			blocks[len(blocks)-1].answer += line
		case word == "```sh":
			fence, blocks = "sh", append(blocks, block{line: n})
		case word == "```json":
			if fence = "json"; len(blocks) == 0 || blocks[len(blocks)-1].answer != "" {
				t.Fatalf("line %d: an answer to nothing", n)
			}
		case strings.HasPrefix(word, "```"):
			t.Fatalf("line %d: %s is neither sh nor json", n, word)
		}
	}
	if len(blocks) < 10 || fence != "" {
		t.Fatalf("%d blocks, and %q is open", len(blocks), fence)
	}
	return blocks
}

// TestGuideIsTrue runs every command of the guide, in order and in one shell, and
// compares every answer with the one that is shown.
func TestGuideIsTrue(t *testing.T) {
	t.Parallel()
	blocks := readGuide(t)
	s := startShell(t)
	// Only the place differs: other ports, and a directory outside of the clone.
	changes := []string{".guide", filepath.Join(t.TempDir(), "guide")}
	for i, port := range freePorts(t, 3) {
		changes = append(changes, fmt.Sprintf("127.0.0.1:%d", 7420+i), fmt.Sprintf("127.0.0.1:%d", port))
	}
	here := strings.NewReplacer(changes...)
	for _, b := range blocks {
		commands, shown := here.Replace(b.commands), here.Replace(b.answer)
		var out, difference string
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
			var err error
			if out, err = s.run(commands); err != nil {
				t.Fatalf("line %d: %v\n%s\n%s", b.line, err, commands, out)
			}
			difference = ""
			if shown != "" {
				difference = compare(t, b.line, shown, out)
			}
			// Repeating a request is safe, so what is about to be so may be waited for.
			if difference == "" || time.Now().After(deadline) {
				break
			}
		}
		if difference != "" {
			t.Fatalf("line %d: the answer is another one: %s\n%s\nis\n%s\nand not\n%s", b.line, difference, commands, out, shown)
		}
	}
	s.end()
}

// freePorts returns ports that nobody uses now and no system gives out by itself.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for len(ports) < n {
		port := 10_000 + rand.IntN(20_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			ports = append(ports, port)
			defer l.Close()
		}
	}
	return ports
}

// shell is a shell that is given one piece after the other.
type shell struct {
	in  io.WriteCloser
	out *bufio.Reader
	end func()
}

func startShell(t *testing.T) *shell {
	t.Helper()
	cmd := script(t)
	cmd.Dir = "../.."
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &shell{in, bufio.NewReader(out), func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	}}
}

// run runs commands and returns what they print.
func (s *shell) run(commands string) (out string, err error) {
	const mark = "=== ended with "
	if _, err := fmt.Fprintf(s.in, "%s\nprintf '\\n%s%%s\\n' \"$?\"\n", commands, mark); err != nil {
		return "", err
	}
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return out, err
		}
		if status, ok := strings.CutPrefix(line, mark); ok {
			if status != "0\n" {
				return out, fmt.Errorf("exit status %s", strings.TrimSpace(status))
			}
			return out, nil
		}
		out += line
	}
}

// compare returns how an answer differs from the one that is shown, or "".
func compare(t *testing.T, line int, shown, answer string) string {
	t.Helper()
	var want, got any
	if err := json.Unmarshal([]byte(shown), &want); err != nil {
		t.Fatalf("line %d: the answer that is shown is not JSON: %v", line, err)
	}
	// Commands before the last may have answers of their own.
	if err := json.NewDecoder(strings.NewReader(answer)).Decode(&got); err != nil {
		return err.Error()
	}
	return differs("", want, got)
}

// A time differs each time, and so do ids that the coordinator makes and how often it
// had to call; … stands for any value, and as a name for further fields.
var aTime = regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$`)

func differs(where string, want, got any) string {
	switch want := want.(type) {
	case string:
		text, ok := got.(string)
		if ok && (want == "…" && text != "" || want == text || aTime.MatchString(want) && aTime.MatchString(text)) {
			return ""
		}
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(want) {
			break
		}
		for i := range want {
			if d := differs(fmt.Sprintf("%s[%d]", where, i), want[i], list[i]); d != "" {
				return d
			}
		}
		return ""
	case map[string]any:
		fields, ok := got.(map[string]any)
		if !ok {
			break
		}
		_, more := want["…"]
		for _, name := range slices.Sorted(maps.Keys(want)) {
			value, there := fields[name]
			switch {
			case name == "…":
			case !there:
				return fmt.Sprintf("%s.%s is missing", where, name)
			case name == "attempts":
				if n, ok := value.(float64); !ok || n < 1 {
					return fmt.Sprintf("%s.attempts is %v", where, value)
				}
			default:
				if d := differs(where+"."+name, want[name], value); d != "" {
					return d
				}
			}
		}
		for name := range fields {
			if _, shown := want[name]; !shown && !more {
				return fmt.Sprintf("%s.%s is not shown", where, name)
			}
		}
		return ""
	default:
		if want == got {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, not %v", where, got, want)
}

// TestGuideComparesAnswers: the comparison can fail.
func TestGuideComparesAnswers(t *testing.T) {
	for _, tt := range []struct {
		shown, answer string
		same          bool
	}{
		{`{"a": 1}`, `{"a":1}`, true},
		{`{"a": 1}`, `{"a":2}`, false},
		{`{"a": 1}`, `{"a":1,"b":2}`, false},
		{`{"a": 1, "…": "…"}`, `{"a":1,"b":2}`, true},
		{`{"a": 1, "…": "…"}`, `{"b":2}`, false},
		{`{"a": "…"}`, `{"a":"x"}`, true},
		{`{"a": "…"}`, `{"a":""}`, false},
		{`{"a": null}`, `{"a":null}`, true},
		{`{"a": null}`, `{"a":"2026-01-02T15:04:05.100Z"}`, false},
		{`{"a": "2026-01-02T15:04:05.100Z"}`, `{"a":"2027-11-12T00:00:00.000Z"}`, true},
		{`{"a": "2026-01-02T15:04:05.100Z"}`, `{"a":"2027-11-12T00:00:00Z"}`, false},
		{`{"a": [1, 2]}`, `{"a":[1]}`, false},
		{`{"a": [{"b": 1}]}`, `{"a":[{"b":3}]}`, false},
		{`{"attempts": 1}`, `{"attempts":4}`, true},
		{`{"attempts": 1}`, `{"attempts":0}`, false},
		{`{"a": 1}`, `nothing`, false},
	} {
		if d := compare(t, 0, tt.shown, tt.answer); (d == "") != tt.same {
			t.Errorf("%s and %s: %q", tt.shown, tt.answer, d)
		}
	}
}
