// Package wait is how tests wait for what others do: they ask again and again, with a deadline, and never just sleep.
package wait

import (
	"context"
	"testing"
	"time"
)

// every is the time between two questions.
const every = 20 * time.Millisecond

// Until asks until ok returns true, and fails the test where that takes longer than the deadline.
func Until(t testing.TB, what string, deadline time.Duration, ok func() bool) {
	t.Helper()
	if !For(context.Background(), deadline, ok) { // not the test's context: clean-up waits after that has ended
		t.Fatalf("%s: not within %v", what, deadline)
	}
}

// For asks until ok returns true, the deadline has passed or ctx ends, and reports which: true for the first.
func For(ctx context.Context, deadline time.Duration, ok func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
	return true
}
