module github.com/dtc-project/dtc

go 1.25.0
