package main

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

const referenceFile = "../../docs/reference/cli.md"

var write = flag.Bool("write", false, "write the reference of the command line instead of comparing it")

// TestReferenceIsCurrent: the committed reference is what the commands say of
// themselves. go generate runs it with -write, so that nothing in the program is
// there for the reference alone.
func TestReferenceIsCurrent(t *testing.T) {
	want := reference()
	if *write {
		if err := os.MkdirAll(filepath.Dir(referenceFile), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(referenceFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(referenceFile)
	if err != nil {
		t.Fatalf("%v: run 'make generate'", err)
	}
	if bytes.Equal(got, want) {
		return
	}
	is, should := strings.Split(string(got), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(is), len(should)) {
		if a, b := at(is, i), at(should, i); a != b {
			t.Fatalf("%s does not say what the commands say: run 'make generate' and commit it\nline %d\n is        %q\n should be %q",
				referenceFile, i+1, a, b)
		}
	}
}

// TestReferenceNamesEverything: each command that people can see, each of its flags
// and each exit code.
func TestReferenceNamesEverything(t *testing.T) {
	text := string(reference())
	for _, want := range []string{
		"## dtc demo\n", "## dtc bench\n", "## dtc version\n", "## dtc log verify\n", "## dtc log dump\n",
		"## dtc log explain\n", "## dtc log stat\n", "## dtc log hold\n", "## dtc log release\n",
		"--seed SEED", "--data DIR", "--reason string", "--orders N", "-o, --output text|json",
		"| 0 | done |\n| 1 | failed |\n| 2 | usage |\n| 3 | log corrupt |\n| 4 | data directory in use |\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	for _, not := range []string{demoChild, demoService, demoServe, "dtc completion"} {
		if strings.Contains(text, not) {
			t.Errorf("it names %q, which is hidden", not)
		}
	}
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}

// reference returns the reference in Markdown.
func reference() []byte {
	var b bytes.Buffer
	b.WriteString("<!-- Generated from the commands in cmd/dtc by 'make generate'. Do not edit. -->\n\n# The command line\n")
	root, _ := newRoot()
	describe(&b, root)
	b.WriteString("\n## Exit codes\n\n| code | meaning |\n|---|---|\n")
	for _, c := range exitCodes {
		fmt.Fprintf(&b, "| %d | %s |\n", c.code, c.meaning)
	}
	return b.Bytes()
}

// describe writes what a command says of itself, and then its commands.
func describe(b *bytes.Buffer, cmd *cobra.Command) {
	fmt.Fprintf(b, "\n## %s\n\n%s.\n", cmd.CommandPath(), cmd.Short)
	if cmd.Long != "" {
		fmt.Fprintf(b, "\n%s\n", cmd.Long)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\n| command | |\n|---|---|\n")
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() {
				link := strings.ReplaceAll(sub.CommandPath(), " ", "-")
				fmt.Fprintf(b, "| [%s](#%s) | %s |\n", sub.CommandPath(), link, sub.Short)
			}
		}
	} else {
		fmt.Fprintf(b, "\n```text\n%s\n%s```\n", cmd.UseLine(), options(cmd))
	}
	if cmd.Example != "" {
		fmt.Fprintf(b, "\nExamples:\n\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	}
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			describe(b, sub)
		}
	}
}

// options returns the usage text of a command's own flags, after an empty line.
func options(cmd *cobra.Command) string {
	if text := cmd.LocalFlags().FlagUsages(); text != "" {
		return "\n" + text
	}
	return ""
}
