package vfs

import "errors"

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
	s.Keep(st)
	return s, nil
}

// Keep leaves the mount in the store for the next process.
func (s *Server) Keep(st *Store) {
	if err := st.Put(s.Handover()); err != nil {
		s.log.Warn("the mount will not outlive this process: after a restart of scaph, "+
			"guests that hold it must be restarted too", "why", err)
		return
	}
	s.store = st
}
