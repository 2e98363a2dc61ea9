package app

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// A group is services that end together. One that fails ends the App.
type group struct {
	errgroup.Group
	ctx  context.Context
	fail context.CancelFunc
}

func (g *group) run(s Service) {
	g.Go(func() error {
		err := s.Run(g.ctx)
		if err == nil || g.ctx.Err() != nil && errors.Is(err, g.ctx.Err()) {
			return nil
		}
		g.fail()
		return fmt.Errorf("%s: %w", s.Name, err)
	})
}
