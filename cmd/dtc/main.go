// Command dtc is the transaction coordinator's binary.
package main

func main() {}
