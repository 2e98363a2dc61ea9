// Package hwmon reads the energy and the power that devices measure of themselves, from the
// kernel's class/hwmon: the ACPI power meter of a server's inlet, shunts on its supply rails
// (INA2xx, LTC29xx), graphics cards, the SoC's own sensors.
//
// A chip is a directory class/hwmon/hwmonN with a file name, and has channels, numbered by quantity
// (Documentation/hwmon/sysfs-interface.rst). Two quantities count:
//
//   - energyN_input, in µJ, cumulative: shown as it is;
//   - powerN_average, else powerN_input, in µW: integrated, see integral.
//
// A channel that has both under one number and label is one zone, by its energy. N of hwmonN is the
// order in which drivers came; so a zone is known by the path of the chip's device, the chip's name
// and the channel, and is found again when N has changed.
//
// A read asks the device, over I²C or through a management controller, and may take as long as that
// takes. So every chip has a goroutine that reads it, and Read only takes what that has last found.
//
// Nothing says how the zones overlap with each other or with RAPL's: they are shown, and charged to
// nobody.
package hwmon
