// Package command is what the commands attach and detach do: choose VMs, have package attach edit their definitions, hand
// those to libvirt, plug the share into what runs, and tell the operator what is left to do.
package command
