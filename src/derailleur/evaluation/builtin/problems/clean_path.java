public static String cleanPath(String path) {
    ArrayList<String> folders = new ArrayList<>();
    for (String part : path.split("/")) {
        if (part.equals("..")) {
            if (!folders.isEmpty()) {
                folders.remove(folders.size() - 1);
            }
        } else if (!part.isEmpty() && !part.equals(".")) {
            folders.add(part);
        }
    }
    return "/" + String.join("/", folders);
}
