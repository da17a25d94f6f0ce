// Package suite shows that every planted bug is found: by which test, after how
// many of its runs, and how soon. With the tag "canary":
//
//	go test -tags canary -run TestCanaries -v ./internal/canary/suite
package suite
