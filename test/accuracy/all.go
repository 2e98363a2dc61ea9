package main

import (
	"context"
	"fmt"
	"io"
	"os"
)

func all(ctx context.Context, out io.Writer, seeds int, short bool) error {
	s := scenario{name: "two packages", machine: ordinary(2), steps: 50, bounds: strict}
	v, err := perform(ctx, s, 1, meter{name: "product", path: os.Getenv("METER"), args: hostArgs})
	fmt.Fprintf(out, "%+v\n%q\n", v, s.bounds.Broken(v))
	return err
}
