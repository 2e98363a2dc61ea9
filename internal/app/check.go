package app

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/scaph/scaph/internal/config"
	"github.com/scaph/scaph/internal/cputime"
	"github.com/scaph/scaph/internal/rapl"
	"github.com/scaph/scaph/internal/state"
)

// CheckSensor opens the configured sensor and makes a meter of it, and says what it has. The error is what New would
// return. The hint says what to do about it, or without an error about something odd; "" if there is nothing to do.
func CheckSensor(c config.Config, program config.Program, log *slog.Logger) (what, hint string, err error) {
	sensor, err := OpenSensor(c, program, log)
	var none *rapl.NoZonesError
	if errors.As(err, &none) {
		what = fmt.Sprintf("no readable RAPL zone in %s: %s", none.Dir, none.Detail)
		if c.Sensor.Powercap != "auto" {
			what = "sensor.powercap: " + what
		}
		return what, none.Remedy, err
	}
	if err != nil {
		return err.Error(), "", err
	}
	defer func() { err = errors.Join(err, sensor.Close()) }()
	zones := sensor.Zones()
	if _, err := newMeter(meterOptions(c, log, sensor), c.Sensor.Basis); err != nil {
		return err.Error(), "", err
	}
	if unknown := unknownFloors(c, zones); unknown != "" {
		hint = "attribution.idle_watts names zones that are not there: " + unknown
	}
	what = fmt.Sprintf("%s: %s", c.Sensor.Kind, names(zones))
	if c.Sensor.Kind != "estimate" {
		what = fmt.Sprintf("%s in %s: %s", c.Sensor.Kind, PowercapDir(c, program), names(zones))
	}
	return what, hint, nil
}

// CheckCPUTime opens the configured source of CPU time and takes a sample. note says why it is not the best
// one, "" where it is.
func CheckCPUTime(c config.Config) (what, note string, err error) {
	cpus, err := cputime.ReadTopology(c.Host.Sysfs, c.Host.Procfs)
	if err != nil {
		return "", "", err
	}
	domains := cputime.NewDomains(c.Host.Sysfs, cpus, nil)
	source, note, err := openCPUSource(c, domains)
	if err != nil {
		return "", note, err
	}
	var sample cputime.Sample
	if err = source.Sample(&sample); err != nil {
		return "", note, errors.Join(err, source.Close())
	}
	what = fmt.Sprintf("%s: %d processes on %d CPUs", source.Name(), len(source.Baseline().Processes), len(cpus))
	return what, strings.TrimSpace(note), source.Close()
}

// OpenState opens the directories of the state. The error is a *state.LockedError where another instance has them.
func OpenState(c config.Config) (*state.Store, error) {
	store, err := state.Open(c.State.Run, c.State.Lib)
	var locked *state.LockedError
	if err == nil || errors.As(err, &locked) {
		return store, err
	}
	return nil, fmt.Errorf("state.run %s, state.lib %s: %w", c.State.Run, c.State.Lib, err)
}

// CheckState opens the directories of the state as the service does, and leaves behind nothing that was not there before:
// the service may run as another user, to whom it would be closed. Running is the instance that has them now, nil if there is
// none.
func CheckState(c config.Config) (running *state.LockedError, err error) {
	dirs := []string{c.State.Run, c.State.Lib}
	var made []string // by us, the deepest last
	for _, dir := range dirs {
		for path := filepath.Join(dir, "lock"); missing(path); path = filepath.Dir(path) {
			made = append(made, path)
		}
	}
	slices.SortFunc(made, func(a, b string) int { return len(a) - len(b) })
	store, err := OpenState(c)
	for _, path := range slices.Backward(made) {
		_ = os.Remove(path) // it may not have come to this one, and of a directory that has become another's it fails
	}
	if errors.As(err, &running) {
		return running, nil
	}
	if err != nil {
		return nil, err
	}
	if err := errors.Join(store.Close(), writable(c.State.Run), writable(c.State.Lib)); err != nil {
		return nil, fmt.Errorf("state.run, state.lib: %w", err)
	}
	return nil, nil
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// writable tells whether a file could be made in dir, or dir be made.
func writable(dir string) error {
	for {
		err := unix.Access(dir, unix.W_OK|unix.X_OK)
		if err == unix.ENOENT && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return &os.PathError{Op: "write to", Path: dir, Err: err}
		}
		return nil
	}
}
