//go:build race

package cli

// detector has the programs built as the tests are.
const detector = "-race"
