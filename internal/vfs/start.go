package vfs

import (
	"errors"
	"os"
)

// Start serves the mount that an earlier process left in the store, or makes a new one and leaves it there
// for the next. A nil Store is one that is not there: the tree works, and guests must be restarted after scaph is.
//
// The error is ErrIncompatible or ErrUnmounted, too, if there was a mount to take over, which did not fit, and this process
// may not make another one: its end lets go of the old mount, and whoever mounts for it makes a new one.
func Start(t *Tree, o Options, st *Store) (*Server, error) {
	var unfit error // why a mount that was left could not be taken over
	if h, ok := st.Take(); ok {
		s, err := Resume(t, h, o)
		if err == nil {
			s.store = st
			o.Log.Info("took the tree over from the process before; guests saw nothing of it", "path", s.path)
			return s, nil
		}
		if unfit = err; !errors.Is(err, ErrIncompatible) && !errors.Is(err, ErrUnmounted) {
			return nil, err
		}
		o.Log.Warn("the mount of the process before cannot be taken over; guests that hold it must be restarted", "error", err)
		// Out of the store, so that its last descriptor closes and the mount is seen to be stale.
		if err := st.Remove(); err != nil {
			return nil, err
		}
		if old := h.path(); old != "" {
			if err := clearStale(old, o); err != nil {
				o.Log.Warn("the mount of the process before is left where it is", "error", err)
			}
		}
	}
	s, err := Mount(t, o)
	if err != nil {
		return nil, errors.Join(unfit, err)
	}
	if err := st.Put(s.Handover()); err != nil {
		o.Log.Warn("the mount will not outlive this process: after a restart of scaph, "+
			"guests that hold it must be restarted too", "why", err)
	} else {
		s.store = st
	}
	return s, nil
}

// Successor serves the same mount with another tree, in the same process: the reload of a configuration. It is
// called after Serve; the Server is of no use afterwards. The error is ErrIncompatible if the mount is to be at
// another path; then the old Server is as it was.
func (s *Server) Successor(t *Tree, o Options) (*Server, error) {
	h := s.Handover()
	fd, err := duplicate(h.Device)
	if err != nil {
		return nil, err
	}
	h.Device = os.NewFile(uintptr(fd), fuseDevice) // which Resume closes; should it fail, ours is as it was
	next, err := Resume(t, h, o)
	if err != nil {
		return nil, err
	}
	next.store = s.store
	return next, s.device.close()
}
