module github.com/dtc-project/dtc/cmd/dtc

go 1.25.0

require github.com/dtc-project/dtc v0.0.0

replace github.com/dtc-project/dtc => ../..
