module example.com/greenroom

go 1.19
