package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/scaph/scaph/test/source"
)

// programs holds the two programs, built once.
var programs string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "scaph-docs-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	build := exec.Command("go", "build", "-o", dir, "./cmd/scaph-host", "./cmd/scaph-guest")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	programs = dir
	return m.Run()
}

var (
	ourProgram = regexp.MustCompile(`^(?:bin/|/usr/bin/)?(scaph-host|scaph-guest)$`)
	assignment = regexp.MustCompile(`^[A-Z_]+=`)
)

// TestCommands asks the programs themselves whether they know each command and flag.
func TestCommands(t *testing.T) {
	source.Depend(t, "cmd", "internal")
	for _, p := range handwritten(t) {
		for _, line := range p.commandLines() {
			name, args, ok := ourCommand(line)
			if !ok {
				continue
			}
			t.Run(name+" "+strings.Join(args, " "), func(t *testing.T) {
				out, err := exec.CommandContext(t.Context(), filepath.Join(programs, name), append(args, "--help")...).CombinedOutput()
				if err != nil {
					t.Fatalf("%s says %q: %v\n%s", p.path, line, err, out)
				}
				// Help for an unknown command is that of the program.
				if len(args) > 0 && !strings.HasPrefix(args[0], "-") && !strings.Contains(string(out), "\n  "+name+" "+args[0]+" ") {
					t.Errorf("%s says %q: there is no command %s", p.path, line, args[0])
				}
			})
		}
	}
}

// TestMakeTargets looks each "make something" up in the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range handwritten(t) {
		for _, line := range p.commandLines() {
			words := strings.Fields(line)
			if len(words) < 2 || words[0] != "make" {
				continue
			}
			if !strings.Contains(string(makefile), "\n"+words[1]+":") {
				t.Errorf("%s says %q: there is no such target", p.path, line)
			}
		}
	}
}

// commandLines gives what stands in blocks for the shell, line by line, and code in running text.
func (p *page) commandLines() []string {
	lines := slices.Clone(p.spans)
	for _, text := range p.in("sh") {
		for line := range strings.Lines(text) {
			line, _, _ = strings.Cut(line, " #")
			lines = append(lines, strings.Split(strings.TrimSpace(line), " && ")...)
		}
	}
	return lines
}

// ourCommand takes a command line apart, if it runs one of the two programs. Words in capitals stand for what the reader
// puts there.
func ourCommand(line string) (name string, args []string, ok bool) {
	words := strings.Fields(strings.ReplaceAll(line, "'", ""))
	for len(words) > 0 && (words[0] == "sudo" || assignment.MatchString(words[0])) {
		words = words[1:]
	}
	if len(words) < 2 {
		return "", nil, false
	}
	m := ourProgram.FindStringSubmatch(words[0])
	if m == nil {
		return "", nil, false
	}
	return m[1], words[1:], true
}
