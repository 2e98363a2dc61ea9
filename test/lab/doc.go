// Package lab judges the whole product from outside: a simulated RAPL, a real libvirtd, real
// qemu guests, and the two built binaries between them.
//
// It knows of the product only what an operator knows: command lines, configuration keys, files
// and metric names. It imports none of its packages. See README.md for the ground and the parts.
package lab
