// Package rapl reads RAPL energy counters from a powercap tree: the kernel's /sys/class/powercap, or
// one of the same shape, such as the tree that a virtual machine is given by its host.
//
// A tree holds zones, named by ids like "intel-rapl:0:1": the control type, then the index at each
// depth, in hexadecimal (drivers/powercap/powercap_sys.c). Three layouts are in use, and all are read:
//
//   - sysfs: every zone is a symbolic link at the top, to directories nested in the control type's;
//   - a virtual machine's tree: the nested directories, with links to them at the top;
//   - flat: directories at the top and nothing else, even without a name in them.
//
// A zone's index says nothing about its package: the platform (psys) takes an index among the
// packages. So zones are known by the file name, whose values are those of
// drivers/powercap/intel_rapl_common.c. The control type intel-rapl-mmio is another door to the
// package counters of intel-rapl and is never counted beside them.
//
// What the counters mean: Documentation/power/powercap/powercap.rst, and the Intel 64 and IA-32
// Architectures Software Developer's Manual, volume 3, "Platform specific power management support".
package rapl
