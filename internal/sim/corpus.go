package sim

import (
	"bufio"
	"bytes"
	"embed"
	"fmt"
	"path"
	"strconv"
	"strings"
)

// A CorpusSeed is a run that once found something, and is run for ever. What it runs
// changes whenever the simulator draws in another order, so an old one is one seed
// among many; it costs nothing to keep it.
type CorpusSeed struct {
	Name    string // of its file
	Seed    uint64
	Without Faults
	Was     string // what it found
}

//go:embed testdata/corpus/*.seed
var corpus embed.FS

// Corpus returns the runs that are kept in testdata/corpus, each in a file of its own:
//
//	seed 1234
//	without kills,deaf
//	was a commit that was told before it was durable
func Corpus() ([]CorpusSeed, error) {
	const dir = "testdata/corpus"
	files, err := corpus.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all []CorpusSeed
	for _, f := range files {
		text, err := corpus.ReadFile(path.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		s, err := parseSeed(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		s.Name = f.Name()
		all = append(all, s)
	}
	return all, nil
}

func parseSeed(text []byte) (s CorpusSeed, err error) {
	seen := map[string]bool{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		key, value, _ := strings.Cut(strings.TrimSpace(lines.Text()), " ")
		seen[key] = true
		switch key {
		case "seed":
			s.Seed, err = strconv.ParseUint(value, 0, 64)
		case "without":
			s.Without, err = ParseFaults(value)
		case "was":
			s.Was = value
		default:
			err = fmt.Errorf("sim: a line begins with %q", key)
		}
		if err != nil {
			return s, err
		}
	}
	if !seen["seed"] || s.Was == "" {
		return s, fmt.Errorf("sim: it must say its seed, and what it was")
	}
	return s, nil
}
