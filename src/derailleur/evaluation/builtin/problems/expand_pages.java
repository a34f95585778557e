public static ArrayList<Long> expandPages(String pages) {
    ArrayList<Long> numbers = new ArrayList<>();
    for (String part : pages.replace(" ", "").split(",")) {
        if (part.contains("-")) {
            String[] ends = part.split("-");
            for (long page = Long.parseLong(ends[0]); page <= Long.parseLong(ends[1]); page++) {
                numbers.add(page);
            }
        } else if (!part.isEmpty()) {
            numbers.add(Long.parseLong(part));
        }
    }
    return numbers;
}
