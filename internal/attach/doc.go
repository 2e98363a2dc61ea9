// Package attach edits the definition of a libvirt domain so that its VM gets its meter, and takes that back: a document
// in, a document out. It does no I/O; package command does.
//
// A document is edited at positions of its bytes. What is not understood (other people's metadata, namespaces, comments,
// elements of a libvirt to come) is not even looked at, so it survives as it is, byte for byte; a tree that was read and
// written again would keep its meaning only.
//
// Detach takes away what Attach added and nothing else. What that was is remembered in the domain's metadata:
//
//	<scaph:attached xmlns:scaph='urn:scaph:attach:1' added='metadata memoryBacking source access' pci='4'/>
//
// in a namespace of its own, for libvirt keeps one element of each namespace and drops the others: beside the
// <scaph:publish> of urn:scaph:1 this one would not survive.
package attach
