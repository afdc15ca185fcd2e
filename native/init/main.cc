// main() of the static helper nsbox-init.
int main() { return 0; }
