// Package dtc is a distributed transaction coordinator: several independent
// participants commit together or not at all.
package dtc
