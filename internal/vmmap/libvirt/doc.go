// Package libvirt asks libvirt for its domains: the best rung of package vmmap's ladder.
//
// It is linked in by the build tag libvirt_dlopen, with which libvirt.so.0 is looked for when the program runs: one
// binary serves machines with and without libvirt. Without the tag, or without cgo, Open says so.
//
// Libvirt's client library blocks: a call to a daemon that was stopped never returns and cannot be cancelled. So one
// goroutine owns the connection and makes all calls, and whoever wants a listing waits for it no longer
// than a few seconds. Keepalive messages tell a dead connection from a slow one.
//
// An Editor is a connection of another kind, for the commands that change definitions: the only one that asks for more than
// reading.
package libvirt
