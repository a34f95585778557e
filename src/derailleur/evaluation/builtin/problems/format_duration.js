function format_duration(seconds){
    const two = (number) => String(number).padStart(2, '0');
    const minutes = Math.floor(seconds / 60);
    const rest = seconds % 60;
    if (minutes < 60) {
        return `${minutes}:${two(rest)}`;
    }
    return `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(rest)}`;
}
