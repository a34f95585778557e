public static boolean isNewerVersion(String version, String other) {
    String[] one = version.split("\\.");
    String[] two = other.split("\\.");
    for (int place = 0; place < Math.max(one.length, two.length); place++) {
        int left = place < one.length ? Integer.parseInt(one[place]) : 0;
        int right = place < two.length ? Integer.parseInt(two[place]) : 0;
        if (left != right) {
            return left > right;
        }
    }
    return false;
}
