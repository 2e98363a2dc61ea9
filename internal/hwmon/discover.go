package hwmon

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/scaph/scaph/internal/energy"
)

// maxZones bounds the zones of a machine, and with them the series: there are drivers with a
// channel for each core.
const maxZones = 128

// A quantity is what a channel measures.
type quantity string

const (
	quantityEnergy quantity = "energy"
	quantityPower  quantity = "power"
)

// A chip is one directory of class/hwmon.
type chip struct {
	id       string // of its device and its name; stays when the kernel numbers it anew
	name     string
	dir      string // where its files are now
	channels []found
}

// A found is a channel as discovery sees it.
type found struct {
	energy.Zone
	quantity quantity
	index    int
	file     string        // within dir: "power1_average"
	updates  time.Duration // between two values of the device; 0 where it does not say
}

// A discovery is what one look at class/hwmon found.
type discovery struct {
	chips []chip // those with channels that count, by id
	over  int    // zones beyond maxZones, left out
}

// zones lists the zones in their order.
func (d *discovery) zones() (zones []energy.Zone) {
	for _, c := range d.chips {
		for _, f := range c.channels {
			zones = append(zones, f.Zone)
		}
	}
	return zones
}

func classDir(sysfs string) string { return filepath.Join(sysfs, "class/hwmon") }

// discover looks at every chip. It fails only if class/hwmon is there and cannot be listed: a chip
// of which nothing can be read is none.
func discover(sysfs string, read readFunc) (discovery, error) {
	var d discovery
	entries, err := os.ReadDir(classDir(sysfs))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return d, err
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), "hwmon") {
			continue
		}
		c, ok := lookAt(sysfs, filepath.Join(classDir(sysfs), entry.Name()), read)
		// Two chips of one name on one device cannot be told apart over a restart: the first is
		// taken.
		if ok && len(c.channels) > 0 && !slices.ContainsFunc(d.chips, func(have chip) bool { return have.id == c.id }) {
			d.chips = append(d.chips, c)
		}
	}
	slices.SortFunc(d.chips, func(a, b chip) int {
		return cmp.Or(cmp.Compare(a.channels[0].Kind, b.channels[0].Kind), cmp.Compare(a.id, b.id))
	})
	left := maxZones
	for i := range d.chips {
		c := &d.chips[i]
		keep := min(left, len(c.channels))
		d.over += len(c.channels) - keep
		left -= keep
		c.channels = c.channels[:keep]
	}
	d.chips = slices.DeleteFunc(d.chips, func(c chip) bool { return len(c.channels) == 0 })
	return d, nil
}

// lookAt reads what there is to know of one chip.
func lookAt(sysfs, dir string, read readFunc) (c chip, ok bool) {
	c, ok = identify(sysfs, dir, read)
	if !ok {
		return c, false
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return c, false
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	c.addChannels(names, read)
	return c, true
}

// identify returns the chip of a directory of class/hwmon, without its channels. Older drivers, the
// ACPI power meter's among them, have their files in the directory of the device.
func identify(sysfs, dir string, read readFunc) (c chip, ok bool) {
	for _, c.dir = range []string{dir, filepath.Join(dir, "device")} {
		var err error
		if c.name, err = readText(read, filepath.Join(c.dir, "name")); err == nil && c.name != "" {
			device, err := devicePath(sysfs, dir)
			c.id = device + "/" + c.name
			return c, err == nil
		}
	}
	return c, false
}

// devicePath returns the path of a chip's device below devices/:
// "pci0000:00/0000:00:03.1/0000:0a:00.0". A chip without a device, made by software, is at
// "virtual".
func devicePath(sysfs, dir string) (string, error) {
	device, err := filepath.EvalSymlinks(filepath.Join(dir, "device"))
	if err != nil {
		if device, err = filepath.EvalSymlinks(dir); err != nil {
			return "", err
		}
		device = filepath.Dir(filepath.Dir(device)) // hwmon/hwmonN
	}
	if root, err := filepath.EvalSymlinks(sysfs); err == nil {
		if rel, err := filepath.Rel(root, device); err == nil {
			device = rel
		}
	}
	return strings.TrimPrefix(device, "devices/"), nil
}

// addChannels adds the channels that count, among the names of the chip's files.
func (c *chip) addChannels(names []string, read readFunc) {
	for _, name := range names {
		q, index, item, ok := parseFile(name)
		switch {
		case !ok:
			continue
		case q == quantityEnergy && item == "input":
		case q == quantityPower && item == "average":
		case q == quantityPower && item == "input" && !slices.Contains(names, channelName(q, index)+"_average"):
		default:
			continue
		}
		c.channels = append(c.channels, c.channel(q, index, item, read))
	}
	// What is counted is not integrated as well.
	c.channels = slices.DeleteFunc(c.channels, func(f found) bool {
		return f.quantity == quantityPower && slices.ContainsFunc(c.channels, func(other found) bool {
			return other.quantity == quantityEnergy && other.index == f.index && other.Name == f.Name
		})
	})
	slices.SortFunc(c.channels, func(a, b found) int {
		return cmp.Or(cmp.Compare(a.quantity, b.quantity), cmp.Compare(a.index, b.index))
	})
}

func (c *chip) channel(q quantity, index int, item string, read readFunc) found {
	channel := channelName(q, index)
	f := found{
		quantity: q, index: index, file: channel + "_" + item,
		Zone: energy.Zone{
			Path: "hwmon:" + c.id + "/" + channel, Name: c.name, Kind: energy.Device, Package: -1, Die: -1,
			Source: energy.SourceHwmon, Split: energy.ByNothing, Integrated: q == quantityPower,
		},
	}
	if label, err := readText(read, filepath.Join(c.dir, channel+"_label")); err == nil && label != "" {
		f.Name += " " + label
	}
	if c.name == "power_meter" { // drivers/hwmon/acpi_power_meter.c
		f.Kind = energy.Platform
	}
	if q == quantityPower {
		f.updates = c.updates(f.file, read)
	}
	return f
}

// updates returns the time between two values of a power, as the driver tells it.
func (c *chip) updates(file string, read readFunc) time.Duration {
	const longest = uint64(time.Hour / time.Millisecond)
	for _, name := range []string{file + "_interval", "update_interval"} {
		if ms, err := readNumber(read, filepath.Join(c.dir, name)); err == nil && ms > 0 && ms <= longest {
			return time.Duration(ms) * time.Millisecond
		}
	}
	return 0
}

func channelName(q quantity, index int) string { return fmt.Sprintf("%s%d", q, index) }

// parseFile takes the name of a file apart: "power1_average" is (power, 1, "average", true).
func parseFile(name string) (q quantity, index int, item string, ok bool) {
	channel, item, found := strings.Cut(name, "_")
	if !found {
		return "", 0, "", false
	}
	for _, q := range []quantity{quantityEnergy, quantityPower} {
		digits, found := strings.CutPrefix(channel, string(q))
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 16)
		return q, int(n), item, err == nil && channelName(q, int(n)) == channel
	}
	return "", 0, "", false
}
