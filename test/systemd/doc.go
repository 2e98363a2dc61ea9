// Package systemd holds the tests of the units in packaging/systemd: that systemd finds nothing wrong with them, how much
// they leave open, that the rights they give are needed and enough, and that the tree outlives the service, by
// a stand-in of the service manager and by a real one. They need root, and run what the source tree builds.
package systemd
